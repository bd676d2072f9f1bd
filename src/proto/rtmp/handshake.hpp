#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"

namespace sluice::rtmp {

/// C1, S1, C2 and S2 are this long; C0 and S0 are one byte.
inline constexpr size_t handshake_block_size = 1536;
inline constexpr uint8_t rtmp_version = 3;

/// One side of the handshake, sans-IO: RTMP 1.0 §5.2 (simple), or with the digests of Flash Player 9 and later, which
/// Adobe never published but every player and server knows ("complex handshake").
class handshake {
 public:
  virtual ~handshake() = default;
  /// What this side says first, before it has received anything.
  virtual void begin(std::vector<uint8_t>& out) = 0;
  /// Takes bytes from the front of `in` and appends answers to `out`. Returns the number taken: less than all only when
  /// done(), the rest then belongs to the chunk stream. Errors: bad_version.
  virtual base::result<size_t> receive(base::bytes_view in, std::vector<uint8_t>& out) = 0;
  virtual bool done() const = 0;
};

/// The server's side. S0, S1 and S2 are sent when C1 is whole: with digests if C1 carries a valid one, else the simple
/// form. What C2 says is not judged: encoders in the field send rubbish there.
class server_handshake final : public handshake {
 public:
  explicit server_handshake(uint64_t random_seed) : seed_(random_seed) {}
  void begin(std::vector<uint8_t>&) override {}
  base::result<size_t> receive(base::bytes_view in, std::vector<uint8_t>& out) override;
  bool done() const override { return received_ == 1 + 2 * handshake_block_size; }

 private:
  void answer(std::vector<uint8_t>& out) const;
  uint64_t seed_;
  size_t received_ = 0;
  std::vector<uint8_t> c1_;  // held only until it is answered
};

enum class handshake_form : uint8_t { simple, digest };

/// The client's side.
class client_handshake final : public handshake {
 public:
  client_handshake(handshake_form form, uint64_t random_seed) : seed_(random_seed), form_(form) {}
  void begin(std::vector<uint8_t>& out) override;
  base::result<size_t> receive(base::bytes_view in, std::vector<uint8_t>& out) override;
  bool done() const override { return received_ == 1 + 2 * handshake_block_size; }

 private:
  void answer(std::vector<uint8_t>& out) const;
  uint64_t seed_;
  handshake_form form_;
  size_t received_ = 0;
  std::vector<uint8_t> s1_;
};

/// Where a C1 or S1 keeps its 32 byte digest: the four bytes at 8 (scheme 0) or 772 (scheme 1) say how far into the 764
/// byte block behind them.
enum class digest_scheme : uint8_t { at_8, at_772 };
using digest = std::array<uint8_t, 32>;
using handshake_block = std::span<const uint8_t, handshake_block_size>;

struct found_digest {
  digest_scheme scheme;
  digest value;
};
/// Whose digest a block carries.
enum class handshake_peer : uint8_t { player, server };
/// The valid digest of a C1 (`player`) or S1 (`server`), tried in both schemes; nullopt: the simple form.
std::optional<found_digest> find_digest(handshake_block block, handshake_peer signer);
/// True if a S2 (`server`) or C2 (`player`) is signed for the digest of the block that it answers.
bool verify_answer(handshake_block block, handshake_peer signer, const digest& answered);

}  // namespace sluice::rtmp
