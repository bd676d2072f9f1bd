#include <gmock/gmock.h>

#include "redis_test_tools.hpp"

namespace sluice::runtime {
namespace {

using ::testing::HasSubstr;

/// Certificate authorities and a server's certificate for 127.0.0.1, made by openssl.
class certificates {
 public:
  certificates() {
    authority("ca");
    authority("other");
    folder.write("names", "subjectAltName=IP:127.0.0.1");
    openssl({"req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "server.key", "-out",
             "server.csr", "-subj", "/CN=redis"});
    openssl({"x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-out",
             "server.crt", "-days", "2", "-extfile", "names"});
  }
  std::vector<std::string> server_settings(uint16_t port) const {
    return {"--port",
            "0",
            "--tls-port",
            std::to_string(port),
            "--tls-cert-file",
            folder / "server.crt",
            "--tls-key-file",
            folder / "server.key",
            "--tls-ca-cert-file",
            folder / "ca.crt",
            "--tls-auth-clients",
            "no"};
  }
  test_folder folder;

 private:
  void openssl(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), "openssl");
    run_program(arguments, folder.path());
  }
  void authority(const std::string& name) const {
    openssl({"req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", name + ".key",
             "-out", name + ".crt", "-days", "2", "-subj", "/CN=" + name});
  }
};

class redis_tls : public redis_test {
 protected:
  redis_options options(const std::string& ca) const {
    auto o = patient();
    o.port = port_;
    o.tls = true;
    o.ca_file = certificates_.folder / ca;
    return o;
  }
  certificates certificates_;
  uint16_t port_ = free_port();
  redis_server server_{certificates_.server_settings(port_), port_};
};

TEST_F(redis_tls, carries_calls_messages_and_large_values) {
  open(options("ca.crt"));
  ASSERT_TRUE(until_up()) << log_.all();
  EXPECT_EQ(call({"SET", "a", "1"}), "\"OK\"");
  const std::string large(3'000'000, 'x');
  EXPECT_EQ(call({"SET", "large", large}), "\"OK\"");
  bool same = false;
  client_->call("large", {"GET", "large"}, [&](base::result<resp::value> r) { same = r && r->text == large; });
  EXPECT_TRUE(until([&] { return same; }));
  std::string heard;
  client_->subscribe({"news"}, [&](std::string_view, std::string_view text) { heard = text; });
  EXPECT_TRUE(until([&] {
    client_->call("", {"PUBLISH", "news", "hi"}, [](auto) {});
    return heard == "hi";
  }));
  server_.kill();
  ASSERT_TRUE(until_down());
  server_.start();
  EXPECT_TRUE(until_up());
}

TEST_F(redis_tls, an_unknown_authority_is_refused) {
  open(options("other.crt"));
  ASSERT_TRUE(until([&] { return log_.has("reason=tls_failed"); })) << log_.all();
  EXPECT_THAT(log_.all(), HasSubstr("the server's certificate: "));
  EXPECT_FALSE(client_->is_up());
}

TEST_F(redis_tls, a_certificate_for_another_host_is_refused) {
  auto o = options("ca.crt");
  o.host = "localhost";
  open(o);
  ASSERT_TRUE(until([&] { return log_.has("reason=tls_failed"); })) << log_.all();
  EXPECT_THAT(log_.all(), HasSubstr("hostname mismatch"));
}

TEST_F(redis_tls, the_systems_authorities_do_not_know_it) {
  auto o = options("ca.crt");
  o.ca_file.clear();
  open(o);
  EXPECT_TRUE(until([&] { return log_.has("reason=tls_failed"); })) << log_.all();
}

TEST_F(redis_tls, a_file_without_authorities_is_said_at_once) {
  open(options("no-such-file"));
  EXPECT_TRUE(log_.has("reason=bad_ca_file")) << log_.all();
  EXPECT_EQ(call({"PING"}), "store_unavailable");
}

TEST_F(redis_tls, a_server_without_tls_is_said) {
  redis_server plain;
  auto o = options("ca.crt");
  o.port = plain.port();
  o.connect_timeout = 500ms;  // it waits for the end of what is no command
  open(o);
  EXPECT_TRUE(until([&] { return log_.has("redis_unavailable"); })) << log_.all();
  EXPECT_FALSE(client_->is_up());
}

}  // namespace
}  // namespace sluice::runtime
