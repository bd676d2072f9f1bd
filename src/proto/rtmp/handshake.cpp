#include "proto/rtmp/handshake.hpp"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <cstring>

#include "proto/rtmp/random.hpp"

namespace sluice::rtmp {
namespace {

using block = std::array<uint8_t, handshake_block_size>;
constexpr size_t digest_size = std::tuple_size_v<digest>;

// The keys that every implementation carries: a readable text, with which S1 and C1 are signed, followed by 32 bytes
// for S2 and C2.
constexpr std::string_view server_text = "Genuine Adobe Flash Media Server 001";
constexpr std::string_view player_text = "Genuine Adobe Flash Player 001";
constexpr std::array<uint8_t, 32> key_tail = {0xF0, 0xEE, 0xC2, 0x4A, 0x80, 0x68, 0xBE, 0xE8, 0x2E, 0x00, 0xD0,
                                              0xD1, 0x02, 0x9E, 0x7E, 0x57, 0x6E, 0xEC, 0x5D, 0x2D, 0x29, 0x80,
                                              0x6F, 0xAB, 0x93, 0xB8, 0xE6, 0x36, 0xCF, 0xEB, 0x31, 0xAE};

std::string_view short_key(handshake_peer signer) {
  return signer == handshake_peer::server ? server_text : player_text;
}

digest hmac_sha256(base::bytes_view key, base::bytes_view data) {
  digest out{};
  unsigned size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), data.data(), data.size(), out.data(), &size);
  return out;
}

/// Bytes 8…11 or 772…775 name the place, counted from behind themselves; 728 places leave room for 32 bytes within 764
/// - 4.
size_t digest_offset(handshake_block b, digest_scheme scheme) {
  const size_t at = scheme == digest_scheme::at_8 ? 8 : 772;
  return at + 4 + (b[at] + b[at + 1] + b[at + 2] + b[at + 3]) % 728u;
}

/// The digest covers everything but itself.
digest block_digest(handshake_block b, size_t offset, handshake_peer signer) {
  std::array<uint8_t, handshake_block_size - digest_size> covered;
  auto behind = std::copy_n(b.begin(), offset, covered.begin());
  std::copy(b.begin() + static_cast<std::ptrdiff_t>(offset + digest_size), b.end(), behind);
  return hmac_sha256(base::as_bytes(short_key(signer)), covered);
}

/// S2 and C2 end in a signature whose key is made of the long key and the digest that is being answered.
digest answer_signature(handshake_block b, handshake_peer signer, const digest& answered) {
  std::vector<uint8_t> long_key(short_key(signer).begin(), short_key(signer).end());
  long_key.insert(long_key.end(), key_tail.begin(), key_tail.end());
  const digest key = hmac_sha256(long_key, answered);
  return hmac_sha256(key, b.first<handshake_block_size - digest_size>());
}

block signed_block(handshake_peer signer, digest_scheme scheme, std::array<uint8_t, 4> version,
                   byte_generator& random) {
  block b{};
  std::copy(version.begin(), version.end(), b.begin() + 4);
  random.fill(b.data() + 8, b.size() - 8);
  const size_t offset = digest_offset(b, scheme);
  const digest d = block_digest(b, offset, signer);
  std::copy(d.begin(), d.end(), b.begin() + static_cast<std::ptrdiff_t>(offset));
  return b;
}

block signed_answer(handshake_peer signer, const digest& answered, byte_generator& random) {
  block b;
  random.fill(b.data(), b.size());
  const digest d = answer_signature(b, signer, answered);
  std::copy(d.begin(), d.end(), b.end() - digest_size);
  return b;
}

/// Time 0, then four zeros: "no digest here" (clients look at byte 4 before they search for one).
block simple_block(byte_generator& random) {
  block b{};
  random.fill(b.data() + 8, b.size() - 8);
  return b;
}

void append(std::vector<uint8_t>& out, base::bytes_view bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }

handshake_block whole(const std::vector<uint8_t>& v) { return handshake_block(v.data(), handshake_block_size); }

/// Both sides receive alike: the version, a block that is kept until it can be answered, a block that is only counted.
template <typename Answer>
base::result<size_t> take(base::bytes_view in, size_t& received, std::vector<uint8_t>& kept, Answer&& answer) {
  size_t taken = 0;
  if (received == 0 && !in.empty()) {
    if (in[0] != rtmp_version) return base::fail("bad_version", "the handshake asks for a version other than 3");
    received = taken = 1;
  }
  if (received >= 1 && received < 1 + handshake_block_size && taken < in.size()) {
    const size_t count = std::min(in.size() - taken, 1 + handshake_block_size - received);
    if (kept.empty()) kept.reserve(handshake_block_size);
    append(kept, in.subspan(taken, count));
    taken += count;
    received += count;
    if (received == 1 + handshake_block_size) {
      answer();
      std::vector<uint8_t>().swap(kept);
    }
  }
  if (received >= 1 + handshake_block_size) {
    const size_t count = std::min(in.size() - taken, 1 + 2 * handshake_block_size - received);
    taken += count;
    received += count;
  }
  return taken;
}

constexpr std::array<digest_scheme, 2> schemes = {digest_scheme::at_772, digest_scheme::at_8};

}  // namespace

std::optional<found_digest> find_digest(handshake_block b, handshake_peer signer) {
  // A version of zero is how the simple form says that it is one (RTMP 1.0 §5.2.3 has four zeros there).
  if (b[4] == 0 && b[5] == 0 && b[6] == 0 && b[7] == 0) return std::nullopt;
  for (auto scheme : schemes) {
    const size_t offset = digest_offset(b, scheme);
    const digest expected = block_digest(b, offset, signer);
    if (std::equal(expected.begin(), expected.end(), b.begin() + static_cast<std::ptrdiff_t>(offset))) {
      return found_digest{scheme, expected};
    }
  }
  return std::nullopt;
}

bool verify_answer(handshake_block b, handshake_peer signer, const digest& answered) {
  const digest expected = answer_signature(b, signer, answered);
  return std::equal(expected.begin(), expected.end(), b.end() - digest_size);
}

base::result<size_t> server_handshake::receive(base::bytes_view in, std::vector<uint8_t>& out) {
  return take(in, received_, c1_, [&] { answer(out); });
}

void server_handshake::answer(std::vector<uint8_t>& out) const {
  byte_generator random(seed_);
  out.reserve(out.size() + 1 + 2 * handshake_block_size);
  out.push_back(rtmp_version);
  if (auto found = find_digest(whole(c1_), handshake_peer::player)) {
    append(out, signed_block(handshake_peer::server, found->scheme, {4, 5, 0, 1}, random));
    append(out, signed_answer(handshake_peer::server, found->value, random));
  } else {
    append(out, simple_block(random));
    append(out, c1_);
  }
}

void client_handshake::begin(std::vector<uint8_t>& out) {
  byte_generator random(seed_);
  out.push_back(rtmp_version);
  if (form_ == handshake_form::digest) {
    append(out, signed_block(handshake_peer::player, digest_scheme::at_772, {9, 0, 124, 2}, random));
  } else {
    append(out, simple_block(random));
  }
}

base::result<size_t> client_handshake::receive(base::bytes_view in, std::vector<uint8_t>& out) {
  return take(in, received_, s1_, [&] { answer(out); });
}

void client_handshake::answer(std::vector<uint8_t>& out) const {
  if (form_ == handshake_form::digest) {
    if (auto found = find_digest(whole(s1_), handshake_peer::server)) {
      byte_generator random(~seed_);
      append(out, signed_answer(handshake_peer::player, found->value, random));
      return;
    }
  }
  append(out, s1_);
}

}  // namespace sluice::rtmp
