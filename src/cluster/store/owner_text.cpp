#include "cluster/store/owner_text.hpp"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <charconv>

namespace sluice::cluster {
namespace {

namespace json = boost::json;

constexpr size_t digits = 20;  // of 2^64
constexpr size_t id_bytes_max = 512;

std::optional<uint64_t> number_of(std::string_view text) {
  uint64_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || failure != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string_view member(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  const json::string* text = value == nullptr ? nullptr : value->if_string();
  return text == nullptr ? std::string_view() : std::string_view(*text);
}

}  // namespace

std::string sortable_text(const epoch& e) { return fmt::format("{:020}.{:020}", e.counter, e.claim_id); }

std::optional<epoch> parse_sortable(std::string_view text) {
  if (text.size() != 2 * digits + 1 || text[digits] != '.') return std::nullopt;
  const auto counter = number_of(text.substr(0, digits)), claim_id = number_of(text.substr(digits + 1));
  if (!counter || !claim_id || *counter > epoch_counter_max) return std::nullopt;
  return epoch{*counter, *claim_id};
}

std::string owner_json(const owner_record& record, std::string_view server_key) {
  return json::serialize(json::object{{"origin", record.origin_id},
                                      {"server", server_key},
                                      {"epoch", sortable_text(record.epoch)},
                                      {"proxy", record.proxy_id},
                                      {"started_ms", std::to_string(record.started_ms)},
                                      {"published", record.published}});
}

base::result<owner_record> parse_owner_json(std::string_view text) {
  json::error_code failure;
  const json::value parsed = json::parse(text, failure);
  const json::object* object = failure ? nullptr : parsed.if_object();
  if (object == nullptr) return base::fail("bad_record", "the store's record of an owner is no JSON object");
  owner_record record;
  record.origin_id = member(*object, "origin");
  record.proxy_id = member(*object, "proxy");
  const auto e = parse_sortable(member(*object, "epoch"));
  const auto started = number_of(member(*object, "started_ms"));
  const json::value* published = object->if_contains("published");
  if (record.origin_id.empty() || record.origin_id.size() > id_bytes_max || record.proxy_id.size() > id_bytes_max ||
      !e || !started || published == nullptr || !published->is_bool())
    return base::fail("bad_record", "the store's record of an owner has not what it must have");
  record.epoch = *e;
  record.started_ms = *started;
  record.published = published->get_bool();
  return record;
}

}  // namespace sluice::cluster
