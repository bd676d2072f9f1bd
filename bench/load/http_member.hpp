#pragma once

#include "load/http_client.hpp"
#include "load/population.hpp"

namespace sluice::bench {

/// Bytes that count are those of bodies.
class http_member : public http_client, public member {
 public:
  http_member(event_loop& loop, population& all, int index) : http_client(loop), member(all, index) {}
  void begin() override { open(all_.options().url, all_.options().receive_buffer); }

 protected:
  void on_lost(const char* why) override { count_loss(why); }
  std::string path() const { return all_.options().url.path_of(all_.options().stream_of(index_)); }
};

}  // namespace sluice::bench
