#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "relay/hls_home.hpp"
#include "relay/hls_shown.hpp"
#include "relay/watchers.hpp"
#include "runtime/loop.hpp"
#include "servers/http/body.hpp"
#include "servers/http/target.hpp"

namespace sluice::relay {

/// Something of a stream that is got of an origin for all who ask for it.
struct hls_file {
  servers::http_body body;                                   ///< as given to viewers; no bytes: not there yet
  std::vector<std::pair<std::string, std::string>> headers;  ///< of a stock origin's answer
  base::time_point fetched_at{};                             ///< when an origin gave it
  base::time_point tried_at{};                               ///< when one last failed to, while there are bytes
  base::time_point listed_at{};                              ///< when a playlist last named it
  base::duration fresh_for{};                                ///< of a stock origin's answer
  std::string origin;                                        ///< that was asked last
  hls_shown shown;                                           ///< of a media playlist
  std::string shown_from;                                    ///< its origin
  bool fetching = false;
  bool slow = false;           ///< … for longer than they wait who can have the older one
  std::function<void()> stop;  ///< ends the fetch under way
  std::vector<std::shared_ptr<hls_ask>> waiting;
  std::unique_ptr<runtime::timer> patience;
};

/// One stream at its home shard. Who owns it is asked of the control thread, and believed for a second. What an origin
/// of ours gives is the same for all: it is fetched once, the newest segments before anybody asks, and kept for the
/// window. When the owner is gone, playlists go on being given as they were (hls_shown), until the next owner's
/// continue them. Other origins may give each viewer something else: they are asked for each, but for what they say is
/// public, and URIs in their playlists get the stream's id (hls_url.hpp).
class hls_channel final : public origin_watcher {
 public:
  hls_channel(hls_home& home, const cluster::stream_key& key);
  ~hls_channel();

  void serve(std::shared_ptr<hls_ask> a);
  /// A segment of an origin of ours that is here: the answer, without the way of an ask.
  std::optional<runtime::http_response> kept_segment(const runtime::http_request& request);

  /// Lets go of what is too old. True: nothing is left, and nobody asks.
  bool prune(base::time_point now);
  struct removable {
    base::time_point since;
    hls_channel* of;
    std::string name;
  };
  void list_removable(std::vector<removable>& all);
  void remove(const std::string& name);

 private:
  // hls_channel.cpp: owners
  void find_owner();
  void on_owner(base::result<cluster::assignment> found);
  void dispatch(std::shared_ptr<hls_ask> a);
  void try_again(std::shared_ptr<hls_ask> a, const base::error& why);
  static constexpr base::duration retry_delay = std::chrono::milliseconds(100);
  bool try_later(const std::shared_ptr<hls_ask>& a, base::duration wait, base::duration delay = retry_delay);
  void lose_owner(std::string_view reason);
  void on_origin_lost(cluster::loss_reason reason) override;
  base::duration wait_of(const hls_ask& a) const;
  base::duration owner_wait() const;

  // hls_channel.cpp: files that all viewers share
  void get(std::shared_ptr<hls_ask> a);
  bool give_kept(hls_ask& a);
  void give(hls_ask& a, const std::string& name, const hls_file& f);
  void give_all(const std::string& name, hls_file& f);
  bool is_presentable(const hls_file& f) const;
  bool has_presentable() const;
  void fetch(const std::string& name, hls_file& f);
  void on_fetched(const std::string& name, base::result<runtime::http_response> answer);
  void on_unreachable(const std::string& name, const base::error& why);
  void on_refused(const std::string& name, hls_file& f, const runtime::http_response& answer);
  bool take_playlist(const std::string& name, hls_file& f, std::string& text);
  void store(hls_file& f, std::string bytes, std::string etag);
  void prefetch(const hls_shown& playlist);
  bool is_kept(std::string_view uri) const;
  bool is_listed(const hls_ask& a) const;
  hls_file* open_file(const std::string& name);

  // hls_pass.cpp: answers of origins that see each viewer
  void pass(std::shared_ptr<hls_ask> a);
  bool give_public(hls_ask& a, bool any_age);
  void ask_origin(std::shared_ptr<hls_ask> a, const std::string& shared_name);
  void on_passed(const std::shared_ptr<hls_ask>& a, const std::string& shared_name, const cluster::assignment& from,
                 base::result<runtime::http_response> answer);
  void settle_shared(const std::string& shared_name, const runtime::http_response* answer);
  runtime::http_response returned(const hls_ask& a, const cluster::assignment& from, runtime::http_response answer);
  void note_lead(const hls_ask& a, std::string_view uri);

  hls_home& home_;
  shard_context& shard_;
  const cluster::stream_key key_;
  const std::string name_, id_;
  std::optional<cluster::assignment> owner_;
  base::time_point owner_at_{}, last_used_{};
  bool known_ = false;  // it has had an owner
  std::map<std::string, hls_file> files_;
  std::vector<std::shared_ptr<hls_ask>> homeless_;  // wait for an owner
  uint64_t finding_ = 0;
  std::deque<std::string> leads_;           // paths without a file's extension to which a stock origin's playlists lead
  bool expect_public_[2] = {false, false};  // of a stock origin's segments, playlists
  runtime::timer retry_;
  origin_watch watch_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice::relay
