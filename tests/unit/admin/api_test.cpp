#include "admin/api.hpp"

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <optional>

namespace sluice::admin {
namespace {

using runtime::http_request;
using runtime::http_response;

const std::string good_body = R"({"ip":"127.0.0.1","server":"s","service":"v","pid":"1","rtmp":["1935"]})";

http_request make(std::string method, std::string path, std::string body = {}, std::string authorization = {}) {
  http_request request;
  request.method = std::move(method);
  request.path = request.target = std::move(path);
  request.body = std::move(body);
  request.peer = *base::endpoint::parse("127.0.0.1:5000");
  if (!authorization.empty()) request.headers.emplace_back("authorization", std::move(authorization));
  return request;
}

http_response ask(const router& api, const http_request& request) {
  std::optional<http_response> got;
  api(request, [&](http_response response) {
    EXPECT_FALSE(got) << "answered twice";
    got = std::move(response);
  });
  EXPECT_TRUE(got);
  return got.value_or(http_response{});
}

std::string header(const http_response& response, std::string_view name) {
  for (const auto& [key, value] : response.headers) {
    if (key == name) return value;
  }
  return {};
}

boost::json::object json_of(const http_response& response) {
  EXPECT_EQ(response.content_type, "application/json");
  return boost::json::parse(response.body).as_object();
}

struct system_api : testing::Test {
  router make_api(std::string token = {}) {
    return make_system_api(
        info, {}, std::move(token),
        [this](cluster::origin_registration reg, const base::endpoint& peer,
               std::function<void(base::result<cluster::registration_reply>)> done) {
          registered.push_back(reg.id() + " from " + peer.to_string());
          if (hold) {
            held = std::move(done);
          } else {
            done(outcome);
          }
        },
        [](bool per_stream) { return std::string(per_stream ? "sluice_up{stream=\"s\"} 1\n" : "sluice_up 1\n"); },
        [this] { return unready; }, {});
  }
  const version_info info{"0.1.2", "77", "", "", "p1"};
  std::string_view unready;
  std::vector<std::string> registered;
  base::result<cluster::registration_reply> outcome;
  bool hold = false;
  std::function<void(base::result<cluster::registration_reply>)> held;
};

TEST_F(system_api, readiness) {
  const auto api = make_api("t");
  const auto ready = ask(api, make("GET", "/api/v1/sluice/ready"));
  EXPECT_EQ(ready.status, 200) << "for everyone";
  EXPECT_EQ(json_of(ready).at("ready"), true);
  unready = "stopping";
  const auto not_ready = ask(api, make("GET", "/api/v1/sluice/ready"));
  EXPECT_EQ(not_ready.status, 503);
  EXPECT_EQ(json_of(not_ready).at("error"), "stopping");
  EXPECT_EQ(ask(api, make("GET", "/api/v1/versions")).status, 200) << "it lives";
}

TEST_F(system_api, registration) {
  const router api = make_api();
  const auto fine = ask(api, make("POST", "/api/v1/srs/register", good_body));
  EXPECT_EQ(fine.status, 200);
  EXPECT_EQ(fine.body, R"({"code":0,"pid":"77"})");
  EXPECT_EQ(registered, std::vector<std::string>{"s-v-1 from 127.0.0.1:5000"});
  EXPECT_EQ(ask(api, make("POST", "/api/v1/srs/register/", good_body)).status, 200);
}

TEST_F(system_api, a_sluice_origin_hears_which_of_its_streams_have_another_owner) {
  const router api = make_api();
  const std::string body =
      R"({"ip":"127.0.0.1","server":"s","service":"v","pid":"1","rtmp":["1935"],"sluice":{"version":"1"}})";
  outcome = cluster::registration_reply{{{"v/a/\"s\"", {17, 4}}}, true};
  const auto reply = ask(api, make("POST", "/api/v1/srs/register", body));
  EXPECT_EQ(json_of(reply), boost::json::parse(R"({"code":0,"pid":"77","sluice":{"proxy":"p1","want_whole":true,
                                  "fenced":{"v/a/\"s\"":"17.4"}}})"));
  EXPECT_EQ(ask(api, make("POST", "/api/v1/srs/register", good_body)).body, R"({"code":0,"pid":"77"})")
      << "stock origins get what they know";
}

TEST_F(system_api, refused_registrations_say_why_and_nothing_else) {
  const router api = make_api();
  const auto no_ip = ask(api, make("POST", "/api/v1/srs/register", R"({"server":"s"})"));
  EXPECT_EQ(no_ip.status, 400);
  EXPECT_EQ(json_of(no_ip).at("error").as_string(), "empty ip");
  EXPECT_NE(json_of(no_ip).at("code").as_int64(), 0);
  EXPECT_EQ(ask(api, make("POST", "/api/v1/srs/register", "")).status, 400);
  EXPECT_TRUE(registered.empty());

  outcome = base::fail("voided_incarnation", "\"old\"");
  const auto old = ask(api, make("POST", "/api/v1/srs/register", good_body));
  EXPECT_EQ(old.status, 409);
  EXPECT_EQ(json_of(old).at("error").as_string(), "\"old\"");
}

TEST_F(system_api, registration_may_be_answered_later) {
  const router api = make_api();
  hold = true;
  int answers = 0;
  api(make("POST", "/api/v1/srs/register", good_body), [&](const http_response& r) {
    ++answers;
    EXPECT_EQ(r.status, 200);
  });
  EXPECT_EQ(answers, 0);
  held({});
  EXPECT_EQ(answers, 1);
}

TEST_F(system_api, token_covers_registration_only) {
  const router api = make_api("s3cret");
  for (const char* wrong :
       {"", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3crets", "Bearer s3creT", "Basic s3cret", "s3cret"}) {
    const auto refused = ask(api, make("POST", "/api/v1/srs/register", good_body, wrong));
    EXPECT_EQ(refused.status, 401) << wrong;
    EXPECT_EQ(header(refused, "WWW-Authenticate"), "Bearer");
  }
  EXPECT_TRUE(registered.empty());
  EXPECT_EQ(ask(api, make("POST", "/api/v1/srs/register", good_body, "Bearer s3cret")).status, 200);
  EXPECT_EQ(ask(api, make("POST", "/api/v1/srs/register", good_body, "bearer s3cret")).status, 200);
  EXPECT_EQ(ask(api, make("GET", "/api/v1/versions")).status, 200);
  EXPECT_EQ(ask(api, make("GET", "/metrics")).status, 200);
}

TEST_F(system_api, metrics_are_prometheus_text) {
  const auto got = ask(make_api(), make("GET", "/metrics"));
  EXPECT_TRUE(got.content_type.starts_with("text/plain; version=0.0.4"));
  EXPECT_EQ(got.body, "sluice_up 1\n");
  auto per_stream = make("GET", "/metrics");
  per_stream.query = "streams=1";
  EXPECT_EQ(ask(make_api(), per_stream).body, "sluice_up{stream=\"s\"} 1\n");
}

TEST_F(system_api, unknown_paths_and_methods) {
  const router api = make_api();
  const auto unknown = ask(api, make("GET", "/api/v1/nothing"));
  EXPECT_EQ(unknown.status, 404);
  EXPECT_EQ(json_of(unknown).at("code").as_int64(), 404);
  const auto wrong = ask(api, make("DELETE", "/api/v1/versions"));
  EXPECT_EQ(wrong.status, 405);
  EXPECT_EQ(header(wrong, "Allow"), "GET, HEAD, OPTIONS");
  EXPECT_EQ(ask(api, make("GET", "/api/v1/srs/register")).status, 405);
  EXPECT_EQ(ask(api, make("HEAD", "/api/v1/versions")).status, 200);
  EXPECT_EQ(ask(api, make("OPTIONS", "/api/v1/versions")).status, 200);
  EXPECT_EQ(ask(api, make("GET", "/")).status, 404);
}

TEST(router_test, every_answer_under_a_path_has_the_headers_that_were_added) {
  router api("t");
  api.add({"POST", "/rtc/x", access::token_holders,
           [](const auto&, auto, const router::respond& done) { done(json_body("{}")); }});
  api.add({"OPTIONS", "/rtc/x", access::everyone,
           [](const auto&, auto, const router::respond& done) { done(json_body("{}")); }});
  api.add(
      {"GET", "/y", access::everyone, [](const auto&, auto, const router::respond& done) { done(json_body("{}")); }});
  api.add_headers("/rtc/", {{"A", "b"}});
  const auto added = [&](const char* method, const char* path, int status, const char* authorization = "Bearer t") {
    const auto got = ask(api, make(method, path, "", authorization));
    EXPECT_EQ(got.status, status) << method << " " << path;
    return header(got, "A");
  };
  EXPECT_EQ(added("POST", "/rtc/x", 200), "b");
  EXPECT_EQ(added("POST", "/rtc/x", 401, ""), "b");
  EXPECT_EQ(added("OPTIONS", "/rtc/x", 200, ""), "b");
  EXPECT_EQ(added("PUT", "/rtc/x", 405), "b");
  EXPECT_EQ(added("POST", "/rtc/other", 404), "b");
  EXPECT_EQ(added("GET", "/y", 200), "");
  EXPECT_EQ(added("GET", "/z", 404), "");
  EXPECT_EQ(header(ask(api, make("PUT", "/rtc/x", "", "Bearer t")), "Allow"), "POST, OPTIONS") << "each once";
}

TEST(versions, each_port_has_its_form) {
  const version_info proxy{"0.1.2", "77", "", ""};
  const auto system = json_of(ask(make_system_api(proxy, {}, "", {}, {}, {}, {}), make("GET", "/api/v1/versions")));
  EXPECT_EQ(system.at("version").as_string(), "0.1.2");
  EXPECT_EQ(system.at("signature").as_string(), "Sluice/0.1.2");
  EXPECT_EQ(json_of(ask(make_proxy_api(proxy, "t", {}), make("GET", "/api/v1/versions"))), system);

  const auto http = json_of(ask(make_site(proxy, {}), make("GET", "/api/v1/versions")));
  EXPECT_EQ(http.at("code").as_int64(), 0);
  EXPECT_EQ(http.at("pid").as_string(), "77");
  const auto& data = http.at("data").as_object();
  EXPECT_EQ(data.at("major").as_int64(), 0);
  EXPECT_EQ(data.at("minor").as_int64(), 1);
  EXPECT_EQ(data.at("revision").as_int64(), 2);
  EXPECT_EQ(data.at("version").as_string(), "0.1.2");
  EXPECT_FALSE(http.contains("server"));

  const router origin = make_origin_api({"1.10.3-rc1", "78", "srv", "svc"}, [](bool) { return std::string("m"); });
  const auto o = json_of(ask(origin, make("GET", "/api/v1/versions")));
  EXPECT_EQ(o.at("server").as_string(), "srv");
  EXPECT_EQ(o.at("service").as_string(), "svc");
  EXPECT_EQ(o.at("data").at("minor").as_int64(), 10);
  EXPECT_EQ(o.at("data").at("revision").as_int64(), 3);
  EXPECT_EQ(ask(origin, make("GET", "/metrics")).body, "m");
}

TEST(versions, unknown_paths_of_the_proxy_api_need_the_token) {
  const router api = make_proxy_api({"0.1.2", "77", "", ""}, "t", {});
  EXPECT_EQ(ask(api, make("GET", "/api/v1/streams")).status, 401);
  EXPECT_EQ(ask(api, make("GET", "/api/v1/streams", "", "Bearer t")).status, 404);
}

}  // namespace
}  // namespace sluice::admin
