#include "runtime/redis_sentinels.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace sluice::runtime {

namespace {

constexpr std::string_view switch_channel = "+switch-master";

base::error about(const host_port& sentinel, const base::error& why) {
  return {why.reason, fmt::format("Sentinel {}: {}", sentinel.to_string(), why.text)};
}

}  // namespace

redis_sentinels::redis_sentinels(redis_environment& env, news n)
    : env_(env), news_(std::move(n)), order_(env.options.sentinels), again_(env.l, [this] { listen(); }) {
  listen();
}

void redis_sentinels::find(on_found done) {
  done_ = std::move(done);
  ask(0);
}

void redis_sentinels::ask(size_t index) {
  const auto query = [this, index] {
    const std::string command[] = {"SENTINEL", "GET-MASTER-ADDR-BY-NAME", env_.options.sentinel_master};
    const auto due = env_.l.now() + env_.options.call_timeout;
    const auto asked =
        asking_->call(command, due, false, [this, index](const auto& answer) { on_answer(answer, index); });
    if (!asked) next(index, base::error(asked.error()));
  };
  asking_ = env_.connect(order_[index], env_.sentinel_config(),
                         {.up = query, .down = [this, index](const base::error& why) { next(index, why); }});
}

void redis_sentinels::on_answer(const base::result<resp::value>& answer, size_t index) {
  if (!answer) return next(index, answer.error());
  if (answer->is_error()) {
    return next(index, {"redis_refused", fmt::format("{}", resp::error_code(answer->text))});
  }
  auto master = resp::parse_master_address(*answer);
  if (!master) return next(index, master.error());
  if (!*master) {
    return next(index, {"redis_no_master", fmt::format("knows no master called {}", env_.options.sentinel_master)});
  }
  asking_.reset();
  std::rotate(order_.begin(), order_.begin() + static_cast<std::ptrdiff_t>(index),
              order_.begin() + static_cast<std::ptrdiff_t>(index) + 1);
  std::exchange(done_, nullptr)(**master);
}

void redis_sentinels::next(size_t index, const base::error& why) {
  auto failure = about(order_[index], why);
  asking_.reset();
  if (index + 1 < order_.size()) return ask(index + 1);
  std::exchange(done_, nullptr)(tl::unexpected(std::move(failure)));
}

void redis_sentinels::listen() {
  auto config = env_.sentinel_config();
  config.channels = {std::string(switch_channel)};
  const auto& all = env_.options.sentinels;
  listening_ = env_.connect(all[listened_ % all.size()], config,
                            {.up =
                                 [this] {
                                   listen_tries_ = 0;
                                   news_.listening();
                                 },
                             .down =
                                 [this](const base::error&) {
                                   listening_.reset();
                                   ++listened_;
                                   again_.arm_after(env_.backoff_after(listen_tries_++));
                                 },
                             .message =
                                 [this](std::string_view, std::string_view text) {
                                   const auto s = resp::parse_switch_master(text);
                                   if (s && s->name == env_.options.sentinel_master) news_.switched(s->to);
                                 }});
}

}  // namespace sluice::runtime
