#include "relay/flv_source.hpp"

#include "lone_shard.hpp"
#include "proto/flv/file.hpp"
#include "support.hpp"

namespace sluice::relay::test {
namespace {

using media::test::bytes;

std::string text_of(const bytes& b) { return {b.begin(), b.end()}; }

/// Answers whoever connects with bytes of the test's.
class http_origin final : public runtime::io_handler {
 public:
  explicit http_origin(runtime::loop& l) : loop_(l) {
    acceptor_ = *runtime::tcp_acceptor::open(l, any_port(), {}, [this](runtime::tcp_stream s, const base::endpoint&) {
      stream_ = std::move(s);
      loop_.watch(stream_.fd(), *this);
    });
  }
  ~http_origin() { close(); }
  base::endpoint at() const { return acceptor_->local(); }
  void say(const std::string& text) { EXPECT_EQ(stream_.write(base::as_bytes(text)).bytes, text.size()); }
  void close() {
    if (!stream_.is_open()) return;
    loop_.unwatch(stream_.fd(), *this);
    stream_.close();
  }
  std::string request;
  bool left = false;

 private:
  void on_io(runtime::io_ready) override {
    for (;;) {
      const auto got = stream_.read(loop_.read_buffer(), runtime::loop::read_buffer_size);
      if (got.status == runtime::io_status::would_block) return;
      if (got.status != runtime::io_status::ok) {
        left = true;
        return close();
      }
      request.append(reinterpret_cast<const char*>(loop_.read_buffer()), got.bytes);
    }
  }
  runtime::loop& loop_;
  std::unique_ptr<runtime::tcp_acceptor> acceptor_;
  runtime::tcp_stream stream_;
};

class flv_source_test : public ::testing::Test, public upstream_events {
 protected:
  void start(std::vector<base::endpoint> endpoints) {
    cluster::assignment to;
    to.origin_id = "o1";
    to.http = std::move(endpoints);
    source_ = std::make_unique<flv_source>(
        here.context, cells_, to, "GET /live/s.flv HTTP/1.1\r\n\r\n",
        [this](const runtime::http_response_head& head) { said.push_back("head " + std::to_string(head.status)); },
        *this);
  }
  void start() {
    start({origin.at()});
    await([&] { return !origin.request.empty(); });
  }
  void await(const std::function<bool()>& what) { run_until(loop, what); }
  void await_said(size_t count) {
    await([&] { return said.size() >= count; });
    servers::test::run_turns(loop);
  }
  // upstream_events
  void on_started() override { said.push_back("started"); }
  void on_media(rtmp::message m) override { got.push_back(media::test::packet_of(m)); }
  void on_mark(const media::mark&) override { said.push_back("mark"); }
  void on_refused(const rtmp::client_status& s) override {
    said.push_back("refused " + s.code);
    source_.reset();
  }
  void on_lost(bool started, std::string_view reason) override {
    said.push_back((started ? "lost " : "never had ") + std::string(reason));
    source_.reset();
  }
  void on_undialled(const base::error& e) override {
    said.push_back("undialled " + std::string(e.reason));
    source_.reset();
  }

  static std::string flv(const packets& tags) {
    const auto head = flv::file_header(true, true);
    bytes out(head.begin(), head.end());
    for (const auto& t : tags) flv::write_tag(out, t.type, t.timestamp, t.body);
    return text_of(out);
  }

  runtime::loop loop;
  http_origin origin{loop};
  lone_shard here{loop};
  std::vector<std::string> said;
  packets got;
  runtime::descriptor_budget none{0};

 private:
  upstream_metrics cells_{here.metrics, "http"};
  std::unique_ptr<flv_source> source_;
};

const std::string ok = "HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\n\r\n";

TEST_F(flv_source_test, tags_are_messages) {
  start();
  EXPECT_EQ(origin.request, "GET /live/s.flv HTTP/1.1\r\n\r\n");
  const auto sent = made_up_stream(2);
  const auto answer = ok + flv(sent);
  origin.say(answer.substr(0, 100));
  origin.say(answer.substr(100));
  await([&] { return got.size() == sent.size(); });
  EXPECT_EQ(got, sent);
  origin.close();
  await_said(3);
  EXPECT_EQ(said, (std::vector<std::string>{"head 200", "started", "lost origin_closed"}));
}

TEST_F(flv_source_test, chunks_and_tags_of_other_kinds) {
  start();
  const auto body = flv({media::test::key(0), {7, 0, {1, 2}}, media::test::inter(40)});
  std::string answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (size_t at = 0; at < body.size(); at += 50) {
    const auto part = body.substr(at, 50);
    answer += fmt::format("{:x}\r\n{}\r\n", part.size(), part);
  }
  origin.say(answer + "0\r\n\r\n");
  await_said(3);
  EXPECT_EQ(got, (packets{media::test::key(0), media::test::inter(40)}));
  EXPECT_EQ(said, (std::vector<std::string>{"head 200", "started", "lost origin_closed"}));
}

TEST_F(flv_source_test, another_status_is_a_refusal) {
  start();
  origin.say("HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\n" + flv({media::test::key(0)}).substr(0, 9));
  await_said(2);
  EXPECT_EQ(said, (std::vector<std::string>{"head 403", "refused 403"}));
  EXPECT_TRUE(got.empty());
  await([&] { return origin.left; });
}

TEST_F(flv_source_test, what_is_no_flv_is_a_loss) {
  start();
  origin.say(ok + "<html>hello, world</html>");
  await_said(3);
  EXPECT_EQ(said, (std::vector<std::string>{"head 200", "started", "lost flv_bad_signature"}));
  await([&] { return origin.left; });
}

TEST_F(flv_source_test, a_tag_above_the_limit_is_a_loss) {
  here.relays.upstream.session.message_bytes_max = 1000;
  start();
  origin.say(ok + flv({media::test::key(0), media::test::key(40, 1, 2000), media::test::key(80)}));
  await_said(3);
  EXPECT_EQ(said.back(), "lost flv_tag_too_large");
  EXPECT_EQ(got, packets{media::test::key(0)});
}

TEST_F(flv_source_test, what_is_no_http_is_a_loss) {
  start();
  origin.say("SSH-2.0-x\r\n\r\n");
  await_said(1);
  EXPECT_EQ(said, std::vector<std::string>{"never had bad_response"});
}

TEST_F(flv_source_test, a_close_before_the_answer) {
  start();
  origin.close();
  await_said(1);
  EXPECT_EQ(said, std::vector<std::string>{"never had origin_closed"});
}

TEST_F(flv_source_test, no_endpoint_that_answers) {
  auto reserved = runtime::reserve_port(any_port());
  ASSERT_TRUE(reserved);
  start({reserved->first, origin.at()});
  await([&] { return !origin.request.empty(); });
  said.clear();
  start({reserved->first});
  await_said(1);
  EXPECT_EQ(said, std::vector<std::string>{"undialled refused"});
  said.clear();
  start({});
  await_said(1);
  EXPECT_EQ(said, std::vector<std::string>{"undialled no_endpoint"});
  runtime::tcp_stream(reserved->second).close();
}

TEST_F(flv_source_test, no_descriptor_for_it) {
  here.relays.upstream.descriptors = &none;
  start({origin.at()});
  await_said(1);
  EXPECT_EQ(said, std::vector<std::string>{"undialled no_descriptors"});
}

}  // namespace
}  // namespace sluice::relay::test
