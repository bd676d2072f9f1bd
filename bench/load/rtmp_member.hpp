#pragma once

#include "load/population.hpp"
#include "load/rtmp_client.hpp"

namespace sluice::bench {

class rtmp_member : public rtmp_client, public member {
 public:
  rtmp_member(event_loop& loop, role r, population& all, int index) : rtmp_client(loop, r), member(all, index) {}
  void begin() override {
    const load_options& o = all_.options();
    open(o.url, o.stream_of(index_), o.receive_buffer);
  }

 protected:
  void on_lost(const char* why) override { count_loss(why); }
};

}  // namespace sluice::bench
