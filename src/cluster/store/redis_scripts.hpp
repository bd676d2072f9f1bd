#pragma once

#include <string_view>

namespace sluice::cluster {

/// One step of an owner_store on a stream's two keys (ownership.hpp says what each step does).
///   KEYS  the owner's key, SRS's url key
///   ARGV  step, record, its epoch, its proxy, epoch to replace or '', ttl in ms, server key of the record's origin,
///         beginning of all server keys, channel, message for the channel
/// Answers {'held', record} (what the owner's key holds now), {'adopted', record} (the same, with an origin that a
/// Go proxy chose), {'theirs', server key} (of a find: only a Go proxy's choice is there) or {'none'}.
///
/// A Go proxy's choice is told from our mirror of the owner by its life: theirs is for ever, ours is not. It counts
/// where there is no record of ours, or one that nobody publishes with.
inline constexpr std::string_view owner_step_script = R"lua(
local step, record, epoch, proxy, replaces, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local server, servers = ARGV[7], ARGV[8]
local published = record ~= '' and cjson.decode(record).published
local text = redis.call('GET', KEYS[1])
local held
if text then
  local good, value = pcall(cjson.decode, text)
  if good and type(value) == 'table' and type(value.epoch) == 'string' then held = value end
end
local function write(new, key)
  redis.call('SET', KEYS[1], new, 'PX', ttl)
  redis.call('SET', KEYS[2], key, 'PX', ttl)
  local news = not held or held.epoch ~= epoch or (published and not held.published)
  if news then redis.call('PUBLISH', ARGV[9], ARGV[10]) end
end
local function theirs()
  if held and held.published then return nil end
  local url = redis.call('GET', KEYS[2])
  if not url or redis.call('PTTL', KEYS[2]) >= 0 then return nil end
  if string.sub(url, 1, #servers) ~= servers or #url == #servers then return nil end
  return url
end
local function answer()
  if held then return {'held', text} end
  return {'none'}
end
if step == 'find' then
  local url = theirs()
  if url and not (held and held.server == url) then return {'theirs', url} end
  return answer()
elseif step == 'claim' then
  local url = theirs()
  if url and not (held and (held.server == url or held.epoch >= epoch)) then
    local new = cjson.decode(record)
    new.server, new.origin = url, string.sub(url, #servers + 1)
    new = cjson.encode(new)
    redis.call('SET', KEYS[1], new, 'PX', ttl)
    redis.call('SET', KEYS[2], url, 'PX', ttl)
    return {'adopted', new}
  end
  if held and held.epoch ~= replaces then return answer() end
  write(record, server)
  return {'held', record}
elseif step == 'renew' then
  if held and held.epoch > epoch then return answer() end
  if held and held.epoch == epoch and held.published and held.proxy ~= proxy and not published then
    redis.call('PEXPIRE', KEYS[1], ttl)
    if redis.call('GET', KEYS[2]) == held.server then redis.call('PEXPIRE', KEYS[2], ttl) end
    return answer()
  end
  write(record, server)
  return {'held', record}
end
if held and held.epoch == epoch and held.proxy == proxy then
  redis.call('DEL', KEYS[1])
  if redis.call('GET', KEYS[2]) == held.server then redis.call('DEL', KEYS[2]) end
  return {'none'}
end
return answer()
)lua";

/// Keeps SRS's list of all origins, which Go proxies read and rewrite too.
///   KEYS  the list
///   ARGV  how many to add, their server keys, then server keys to remove
inline constexpr std::string_view server_list_script = R"lua(
local text = redis.call('GET', KEYS[1])
local list = {}
if text then
  local good, value = pcall(cjson.decode, text)
  if good and type(value) == 'table' then list = value end
end
local count, drop, seen, out = tonumber(ARGV[1]), {}, {}, {}
for i = count + 2, #ARGV do drop[ARGV[i]] = true end
local function take(key)
  if type(key) == 'string' and not seen[key] and not drop[key] then
    seen[key] = true
    out[#out + 1] = key
  end
end
for _, key in ipairs(list) do take(key) end
for i = 2, count + 1 do take(ARGV[i]) end
local new = #out == 0 and '[]' or cjson.encode(out)
if new ~= text then redis.call('SET', KEYS[1], new) end
return #out
)lua";

/// One operator's word about a drain, if the store has no later one about this server.
///   KEYS  drained servers, servers whose drain was undone;  ARGV  server id, 1 or 0, wall clock ms
/// Answers whether it was written.
inline constexpr std::string_view drain_write_script = R"lua(
local server, at = ARGV[1], tonumber(ARGV[3])
local function when(key) return tonumber(redis.call('HGET', key, server) or '') or 0 end
if at < when(KEYS[1]) or at < when(KEYS[2]) then return 0 end
local to, from = KEYS[1], KEYS[2]
if ARGV[2] == '0' then to, from = from, to end
redis.call('HSET', to, server, ARGV[3])
redis.call('HDEL', from, server)
return 1
)lua";

/// All of them.
///   KEYS  as above
inline constexpr std::string_view drain_read_script = R"lua(
return {redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2])}
)lua";

/// Whether this store is the one that was known: answers its generation, and 1 if it had none before.
///   KEYS  the generation's key;  ARGV  a random text, in case there is none
inline constexpr std::string_view generation_script = R"lua(
local there = redis.call('GET', KEYS[1])
if there then return {there, 0} end
redis.call('SET', KEYS[1], ARGV[1])
return {ARGV[1], 1}
)lua";

}  // namespace sluice::cluster
