#include <algorithm>

#include "runtime/http_session.hpp"
#include "runtime/http_text.hpp"

namespace sluice::runtime::http_inside {

namespace {

/// What one turn reads of a request's parts before others have theirs.
constexpr int reads_per_turn = 8;
/// A read takes in no more than a header of the greatest size and so much.
constexpr size_t read_ahead_bytes = 8192;

constexpr std::string_view go_on_text = "HTTP/1.1 100 Continue\r\n\r\n";

}  // namespace

/// After stop_listening() nobody is waited for as long as usual.
base::duration session::patience(base::duration usual) const {
  return server_.stopping ? std::min<base::duration>(usual, last_call_time) : usual;
}

void session::note_wait() { idle_since_ = ++server_.waits; }

/// The next request on this connection. Until its first byte the connection is idle; then the deadline for a whole
/// header runs (for the first request: from the connection's start).
void session::await_request() {
  state_ = state::reading;
  note_wait();
  parser_.reset();
  request_ = {};
  begun_ = !unread_.empty();
  deadline_.arm_after(patience(begun_ ? server_.limits.header_timeout : server_.limits.idle_timeout));
}

/// True when a whole request is there. False: it has to be waited for, or there is none to come.
bool session::read_request() {
  if (!parser_) {
    parser_.emplace();
    parser_->header_limit(static_cast<uint32_t>(server_.limits.header_bytes_max));
    parser_->body_limit(server_.limits.body_bytes_max);
    header_taken_ = false;
    header_bytes_ = 0;
    if (!unread_.empty() && take({})) return true;
  }
  for (int reads = 0; state_ == state::reading && readable_; ++reads) {
    if (reads == reads_per_turn) {
      go_on_later();
      return false;
    }
    if (receive()) return true;
  }
  return false;
}

/// One read; true: it has completed the request.
bool session::receive() {
  const size_t most = std::min(loop::read_buffer_size, server_.limits.header_bytes_max + read_ahead_bytes);
  const auto got = stream_.read(server_.on.read_buffer(), most);
  if (got.status == io_status::would_block) {
    readable_ = false;
    return false;
  }
  if (got.status != io_status::ok) {
    end();
    return false;
  }
  // A short read has emptied the socket, and the next bytes bring a new edge; a FIN that came with these brings none.
  if (got.bytes < most && !hangup_) readable_ = false;
  if (take({server_.on.read_buffer(), got.bytes})) return true;
  if (state_ == state::reading && !std::exchange(begun_, true) && !header_taken_ && answered_once_)
    deadline_.arm_after(patience(server_.limits.header_timeout));
  return false;
}

/// What came before and was not taken, and `bytes`. True: the request is whole.
bool session::take(base::bytes_view bytes) {
  std::string joined;
  if (!unread_.empty()) {
    joined = std::exchange(unread_, {});
    joined += base::as_text(bytes);
    bytes = base::as_bytes(joined);
  }
  const bool whole = introduce(bytes) && parse(bytes);
  if (!bytes.empty()) unread_ = base::as_text(bytes);
  // Beast bounds what lies in one call to it of a header, and neither the line of a chunk's size nor trailers.
  if (!whole && state_ == state::reading && header_bytes_ + unread_.size() > server_.limits.header_bytes_max)
    refuse(refusal_of(http::error::header_limit));
  return whole;
}

/// Takes what stands before the first request off `bytes`. False: it is not whole, or refused. Under the deadline of
/// the first header.
bool session::introduce(base::bytes_view& bytes) {
  if (introduced_) return true;
  const auto read = server_.limits.introduction.read(peer_.address, bytes);
  if (!read) {
    refuse({400, read.error().reason, "what stands before the request is not taken"});
    return false;
  }
  if (!*read) return false;
  introduced_ = true;
  bytes = bytes.subspan((*read)->bytes);
  if ((*read)->client) peer_ = *(*read)->client;
  if (unnamed_ && !server_.make_room_of(peer_.address)) {
    refuse({503, "too_many_connections", "too many connections"});
    return false;
  }
  unnamed_ = false;
  return true;
}

/// Takes off the front of `bytes` what the parser takes. True: the request is whole.
bool session::parse(base::bytes_view& bytes) {
  // Empty lines in front of a request are passed over (RFC 9112 section 2.2).
  while (header_bytes_ == 0 && !header_taken_ && !bytes.empty() && bytes[0] == '\r') {
    if (bytes.size() == 1) return false;
    if (bytes[1] != '\n') break;
    bytes = bytes.subspan(2);
  }
  while (!bytes.empty()) {
    error_code error;
    const size_t used = parser_->put(boost::asio::const_buffer(bytes.data(), bytes.size()), error);
    bytes = bytes.subspan(used);
    if (!header_taken_) header_bytes_ += used;
    if (error == http::error::need_more) {
      error = {};
      if (used == 0) return false;
    }
    if (error) {
      refuse(refusal_of(error));
      return false;
    }
    if (parser_->is_header_done() && !header_taken_ && !take_header()) return false;
    if (parser_->is_done()) return true;
  }
  return false;
}

/// False: it is refused.
bool session::take_header() {
  header_taken_ = true;
  const auto& message = parser_->get();
  auto why = std::exchange(header_bytes_, 0) > server_.limits.header_bytes_max
                 ? std::optional(refusal_of(http::error::header_limit))
                 : check_header(message);
  // Here, for trailers would be fields of the message as well.
  if (!why && !convert(message, request_)) why = {400, "bad_request", "not a valid request target"};
  if (why) {
    refuse(*why);
    return false;
  }
  keep_alive_ = message.keep_alive() && message.version() == 11;
  if (parser_->is_done()) return true;
  parser_->eager(true);
  deadline_.arm_after(server_.limits.idle_timeout);
  return message.version() < 11 || !equal_ignoring_case(message[http::field::expect], "100-continue") || bid_go_on();
}

/// False: it has ended.
bool session::bid_go_on() {
  const auto sent = stream_.write(base::as_bytes(go_on_text));
  if (sent.status == io_status::ok && sent.bytes == go_on_text.size()) return true;
  end();  // who leaves so much of his answers unread, or is gone
  return false;
}

}  // namespace sluice::runtime::http_inside
