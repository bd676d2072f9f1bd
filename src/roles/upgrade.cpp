#include "roles/upgrade.hpp"

namespace sluice::roles {

base::result<upgrade::inheritance> upgrade::begin() {
  if (path_.empty()) return inheritance{};
  auto asked = runtime::handover_taker::connect(path_, SLUICE_VERSION);
  if (!asked) {
    log_.log(base::log_level::error, "upgrade_failed",
             {{"key", "PROXY_UPGRADE_SOCKET"}, {"reason", asked.error().reason}, {"text", asked.error().text}});
    return tl::unexpected(asked.error());
  }
  taker_ = std::move(*asked);
  if (!taker_) return inheritance{};
  inheritance out{taker_->take_sockets(), taker_->take_state()};
  log_.info("upgrade_begun", {{"from_pid", taker_->from().pid},
                              {"from_version", taker_->from().version},
                              {"version", SLUICE_VERSION},
                              {"sockets", out.sockets.size()}});
  return out;
}

void upgrade::serving() {
  if (path_.empty()) return;
  if (!taker_) return listen();
  taker_->ready(loop_, [this](const base::result<void>& outcome) { settled(outcome); });
}

void upgrade::settled(const base::result<void>& outcome) {
  const auto from = taker_->from();
  taker_.reset();
  if (!outcome) {
    count("failed");
    log_.log(base::log_level::error, "upgrade_failed",
             {{"from_pid", from.pid}, {"reason", outcome.error().reason}, {"text", outcome.error().text}});
    return parts_.give_up();
  }
  count("taken");
  log_.info("upgrade_done", {{"from_pid", from.pid}, {"from_version", from.version}, {"version", SLUICE_VERSION}});
  listen();
  parts_.taken();
}

/// For the next one. Without it this proxy serves all the same.
void upgrade::listen() {
  runtime::handover_giver::callbacks on;
  on.offer = [this]() -> base::result<runtime::handover_offer> { return parts_.offer(); };
  on.begun = [this](const runtime::handover_party& to) {
    log_.info("upgrade_begun", {{"to_pid", to.pid}, {"to_version", to.version}, {"version", SLUICE_VERSION}});
  };
  on.taken = [this](const runtime::handover_party& to) {
    count("given");
    log_.info("upgrade_done", {{"to_pid", to.pid}, {"to_version", to.version}, {"version", SLUICE_VERSION}});
    parts_.give_way();
  };
  on.failed = [this](const runtime::handover_party& to, const base::error& why) {
    count("failed");
    log_.warn("upgrade_failed",
              {{"to_pid", to.pid}, {"to_version", to.version}, {"reason", why.reason}, {"text", why.text}});
  };
  auto opened = runtime::handover_giver::open(loop_, path_, SLUICE_VERSION, std::move(on));
  if (opened) {
    giver_ = std::move(*opened);
  } else {
    log_.warn("no_upgrade_socket",
              {{"reason", opened.error().reason}, {"text", "PROXY_UPGRADE_SOCKET: " + opened.error().text}});
  }
}

void upgrade::count(std::string_view outcome) {
  metrics_
      .counter("sluice_upgrades_total", "Handovers of the ports from or to another process, by outcome.",
               {{"outcome", std::string(outcome)}})
      .add();
}

}  // namespace sluice::roles
