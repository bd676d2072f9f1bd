#include <netinet/udp.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "runtime/udp_io.hpp"

// What udp_io sends.
namespace sluice::runtime {
namespace {

constexpr size_t segments_max = 64;  // UDP_MAX_SEGMENTS of older kernels
constexpr size_t joined_bytes_max = 65'000;

socklen_t put_address(sockaddr_storage& into, const base::endpoint& e, bool v6) {
  if (v6) {
    auto& in = reinterpret_cast<sockaddr_in6&>(into);
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(e.port);
    in.sin6_flowinfo = 0;
    in.sin6_scope_id = 0;
    std::memcpy(&in.sin6_addr, e.address.bytes().data(), 16);  // IPv4 is in mapped form there already
    return sizeof in;
  }
  auto& in = reinterpret_cast<sockaddr_in&>(into);
  in.sin_family = AF_INET;
  in.sin_port = htons(e.port);
  std::memcpy(&in.sin_addr, e.address.bytes().data() + 12, 4);
  return sizeof in;
}

/// Appends control messages to a buffer that is large enough for all of ours.
class control_writer {
 public:
  explicit control_writer(uint8_t* at) : at_(at) {}
  template <typename T>
  void add(int level, int type, const T& value) {
    auto* c = reinterpret_cast<cmsghdr*>(at_ + size_);
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(sizeof value);
    std::memcpy(CMSG_DATA(c), &value, sizeof value);
    size_ += CMSG_SPACE(sizeof value);
  }
  size_t size() const { return size_; }

 private:
  uint8_t* at_;
  size_t size_ = 0;
};

void put_source(control_writer& control, const base::ip_address& local, bool v6) {
  if (v6) {
    in6_pktinfo info{};
    std::memcpy(&info.ipi6_addr, local.bytes().data(), 16);
    control.add(IPPROTO_IPV6, IPV6_PKTINFO, info);
  } else {
    in_pktinfo info{};
    std::memcpy(&info.ipi_spec_dst, local.bytes().data() + 12, 4);
    control.add(IPPROTO_IP, IP_PKTINFO, info);
  }
}

bool is_unreachable(int error) {
  return error == ECONNREFUSED || error == EHOSTUNREACH || error == ENETUNREACH || error == EHOSTDOWN ||
         error == ENETDOWN;
}

}  // namespace

void udp_io::impl::send(udp_socket& s, const udp_path& to, base::bytes_view bytes) {
  if (parts_n_ == parts_max) flush();
  const auto index = static_cast<uint32_t>(parts_n_++);
  parts_[index] = {bytes, none};
  if (s.flow_round_ == round_ && (s.connected_ || flows_[s.flow_].to == to)) {
    flow& f = flows_[s.flow_];
    parts_[f.last].next = index;
    f.last = index;
  } else {
    s.flow_round_ = round_;
    s.flow_ = flows_n_;
    flows_[flows_n_++] = {&s, to, index, index};
  }
  if (!in_turn_) flush();
}

void udp_io::impl::flush() {
  for (size_t i = 0; i < flows_n_; ++i) {
    const flow& f = flows_[i];
    for (uint32_t next = f.first; next != none;) {
      next = add_message(f, next);
      if (out_n_ == messages_out) submit(*f.socket);
    }
    if (out_n_ > 0 && (i + 1 == flows_n_ || flows_[i + 1].socket != f.socket)) submit(*f.socket);
  }
  flows_n_ = parts_n_ = vectors_n_ = 0;
  ++round_;
}

/// Makes a message of the longest run of datagrams, from `index` on, that can leave as one: all of one length, but for
/// the last, which may be shorter. Returns what comes after it.
uint32_t udp_io::impl::add_message(const flow& f, uint32_t index) {
  const size_t first_vector = vectors_n_;
  const size_t segment = parts_[index].bytes.size();
  const size_t run_max = segment == 0 || segment > f.socket->segment_max_ ? 1 : segments_max;
  size_t datagrams = 0, bytes = 0;
  bool full = false;
  for (; index != none && !full; index = parts_[index].next) {
    const base::bytes_view p = parts_[index].bytes;
    if (datagrams > 0 && (p.size() > segment || p.empty() || bytes + p.size() > joined_bytes_max)) break;
    bytes += p.size();
    full = ++datagrams == run_max || p.size() < segment;
    if (datagrams > 1) {
      // What came as one in one buffer goes as one.
      iovec& last = vectors_[vectors_n_ - 1];
      if (static_cast<uint8_t*>(last.iov_base) + last.iov_len == p.data()) {
        last.iov_len += p.size();
        continue;
      }
    }
    vectors_[vectors_n_++] = {const_cast<uint8_t*>(p.data()), p.size()};
  }

  message_out& m = out_parts_[out_n_];
  msghdr& header = out_[out_n_++].msg_hdr;
  control_writer control(m.control);
  header = {};
  header.msg_iov = &vectors_[first_vector];
  header.msg_iovlen = vectors_n_ - first_vector;
  if (!f.socket->connected_) {
    header.msg_name = &m.to;
    header.msg_namelen = put_address(m.to, f.to.peer, f.socket->v6_);
    if (f.socket->wants_local_ && !f.to.local.is_unspecified()) put_source(control, f.to.local, f.socket->v6_);
  }
  m.datagrams = datagrams;
  m.segment = datagrams > 1 ? segment : 0;
  if (m.segment > 0) control.add(IPPROTO_UDP, UDP_SEGMENT, static_cast<uint16_t>(segment));
  if (control.size() > 0) header.msg_control = m.control;
  header.msg_controllen = control.size();
  return index;
}

void udp_io::impl::submit(udp_socket& s) {
  for (size_t done = 0; done < out_n_;) {
    const int sent = sendmmsg(s.fd_, &out_[done], static_cast<unsigned>(out_n_ - done), MSG_NOSIGNAL);
    if (sent > 0) {
      out_cells_.calls.add();
      for (int i = 0; i < sent; ++i) out_cells_.datagrams.add(static_cast<int64_t>(out_parts_[done++].datagrams));
      continue;
    }
    const int error = errno;
    if (error == EINTR) continue;
    message_out& m = out_parts_[done];
    if (m.segment > 0 && (error == EINVAL || error == EMSGSIZE)) {
      s.segment_max_ = m.segment - 1;  // longer than the way's MTU
      submit_apart(s, done);
    } else if (m.segment > 0 && (error == EIO || error == EOPNOTSUPP)) {
      s.segment_max_ = 0;  // the network card leaves no sums to be made
      submit_apart(s, done);
    } else {
      note_failure(s, error, m.datagrams);
    }
    ++done;
  }
  out_n_ = 0;
}

void udp_io::impl::submit_apart(udp_socket& s, size_t message) {
  const message_out& m = out_parts_[message];
  msghdr header = out_[message].msg_hdr;
  for (const iovec& v : std::span(header.msg_iov, header.msg_iovlen)) {
    for (size_t at = 0; at < v.iov_len; at += m.segment) {
      iovec one{static_cast<uint8_t*>(v.iov_base) + at, std::min(m.segment, v.iov_len - at)};
      msghdr single = header;
      single.msg_iov = &one;
      single.msg_iovlen = 1;
      // UDP_SEGMENT is the last control message.
      single.msg_controllen -= CMSG_SPACE(sizeof(uint16_t));
      if (single.msg_controllen == 0) single.msg_control = nullptr;
      ssize_t sent;
      do {
        sent = sendmsg(s.fd_, &single, MSG_NOSIGNAL);
      } while (sent < 0 && errno == EINTR);
      if (sent < 0) {
        note_failure(s, errno, 1);
      } else {
        out_cells_.calls.add();
        out_cells_.datagrams.add();
      }
    }
  }
}

void udp_io::impl::note_failure(udp_socket& s, int error, size_t datagrams) {
  const bool no_room = error == EAGAIN || error == EWOULDBLOCK || error == ENOBUFS || error == ENOMEM;
  (no_room ? no_room_ : undelivered_).add(static_cast<int64_t>(datagrams));
  if (!s.connected_ || !is_unreachable(error)) return;
  // Not from within: whoever sends does not expect to be destroyed by it.
  failed_.push_back({&s, error});
  later();
}

}  // namespace sluice::runtime
