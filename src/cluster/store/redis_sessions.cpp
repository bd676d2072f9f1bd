#include "cluster/store/redis_sessions.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include "cluster/store/cluster_message.hpp"

namespace sluice::cluster {
namespace {

void ignore(const base::result<resp::value>&) {}

}  // namespace

void redis_sessions::put(const std::string& key, const std::string& value, base::duration ttl) {
  const std::string name = keys_.named(key);
  const auto ms = std::max<int64_t>(1, std::chrono::duration_cast<std::chrono::milliseconds>(ttl).count());
  client_.call(name, {"SET", name, value, "PX", std::to_string(ms)}, ignore);
}

void redis_sessions::get(const std::string& key, on_value done) {
  const std::string name = keys_.named(key);
  client_.call(name, {"GET", name}, [done = std::move(done)](base::result<resp::value> answer) {
    if (!answer) return done(tl::unexpected(answer.error()));
    if (!answer->is_string()) return done(std::optional<std::string>());
    done(std::move(answer->text));
  });
}

void redis_sessions::drop(const std::string& key) {
  const std::string name = keys_.named(key);
  client_.call(name, {"DEL", name}, ignore);
}

void redis_sessions::end(const std::string& key) {
  drop(key);
  client_.call({}, {"PUBLISH", keys_.channel(), message_text(proxy_id_, message::session_end{key})}, ignore);
}

}  // namespace sluice::cluster
