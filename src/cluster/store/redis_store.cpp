#include "cluster/store/redis_store.hpp"

#include <chrono>
#include <utility>
#include <vector>

#include "cluster/store/cluster_message.hpp"
#include "cluster/store/owner_text.hpp"
#include "cluster/store/redis_scripts.hpp"

namespace sluice::cluster {
namespace {

const runtime::redis_script& owner_step() {
  static const runtime::redis_script script{std::string(owner_step_script)};
  return script;
}

std::string_view name_of(store_request::kind what) {
  switch (what) {
    case store_request::kind::claim:
      return "claim";
    case store_request::kind::renew:
      return "renew";
    case store_request::kind::drop:
      return "drop";
    case store_request::kind::find:
      break;
  }
  return "find";
}

}  // namespace

void redis_store::submit(store_request request, on_reply done) {
  const owner_record record = request.record.value_or(owner_record{});
  const std::string server = record.origin_id.empty() ? std::string() : keys_.server(record.origin_id);
  const bool writes = request.what == store_request::kind::claim || request.what == store_request::kind::renew;
  std::vector<std::string> arguments{
      std::string(name_of(request.what)),
      writes ? owner_json(record, server) : std::string(),
      sortable_text(record.epoch),
      record.proxy_id,
      request.replaces ? sortable_text(*request.replaces) : std::string(),
      std::to_string(std::max<int64_t>(1, std::chrono::duration_cast<std::chrono::milliseconds>(request.ttl).count())),
      server,
      keys_.server_prefix(),
      keys_.channel(),
      writes ? message_text(proxy_id_, message::owner{request.key, record}) : std::string()};
  client_.eval(owner_step(), {keys_.owner(request.key), keys_.url(request.key)}, std::move(arguments),
               [this, op = request.op, done = std::move(done)](base::result<resp::value> answer) {
                 done({op, answer ? taken(*answer) : tl::unexpected(answer.error())});
               });
}

base::result<std::optional<owner_record>> redis_store::taken(const resp::value& answer) const {
  const auto& parts = answer.elements;
  if (!answer.is_list() || parts.empty() || parts.size() > 2 || !parts[0].is_string())
    return base::fail("store_error", "the store answered " + resp::to_string(answer));
  if (parts[0].text == "none") return std::optional<owner_record>();
  if (parts.size() == 2 && parts[0].text == "theirs") {
    auto id = keys_.id_of_server(parts[1].text);
    if (!id) return std::optional<owner_record>();
    owner_record record;
    record.origin_id = std::move(*id);
    return record;
  }
  if (parts.size() < 2) return base::fail("store_error", "the store answered " + resp::to_string(answer));
  auto record = parse_owner_json(parts[1].text);
  if (!record) return tl::unexpected(record.error());
  return std::move(*record);
}

}  // namespace sluice::cluster
