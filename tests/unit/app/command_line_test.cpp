#include "app/command_line.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace sluice::app {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using namespace std::chrono_literals;

/// A made-up world: environment and files.
struct world {
  variables environment;
  std::map<std::string, std::string> files;
  std::set<std::string> unreadable{};

  invocation ask(const std::vector<std::string>& arguments) const {
    return parse_command_line(arguments, {environment, [this](const std::string& path) -> base::result<std::string> {
                                            if (unreadable.contains(path))
                                              return base::fail("cannot_read", "cannot read the file: it is odd");
                                            const auto file = files.find(path);
                                            if (file == files.end())
                                              return base::fail("no_such_file", "cannot read the file: not there");
                                            return file->second;
                                          }});
  }
};

TEST(CommandLine, UnreadableFilesAreNamed) {
  world w;
  EXPECT_TRUE(w.ask({"proxy"}).warnings.empty()) << "no .env is usual";
  w.unreadable = {".env", "dir"};
  const auto asked = w.ask({"proxy"});
  EXPECT_EQ(asked.what, command::proxy) << asked.err;
  EXPECT_THAT(asked.warnings, testing::ElementsAre(".env is not read: cannot read the file: it is odd"));
  EXPECT_TRUE(w.ask({"proxy", "--no-env-file"}).warnings.empty());
  const auto refused = w.ask({"proxy", "--config", "dir"});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, testing::HasSubstr("--config dir: cannot read the file: it is odd"));
}

TEST(CommandLine, DemoIsASwitchWhoseFlagAloneMeansOn) {
  EXPECT_FALSE(world().ask({"run"}).run.demo);
  for (const std::vector<std::string>& yes : {std::vector<std::string>{"run", "--demo"},
                                              {"run", "--demo", "--origins", "3"},
                                              {"run", "--origins", "3", "--demo"},
                                              {"run", "--demo", "on"},
                                              {"run", "--demo=on"}}) {
    const auto asked = world().ask(yes);
    EXPECT_EQ(asked.what, command::run) << asked.err;
    EXPECT_TRUE(asked.run.demo) << yes.back();
    EXPECT_EQ(asked.run.origins, yes.size() > 3 ? 3u : 0u) << yes.size();
  }
  EXPECT_FALSE(world().ask({"run", "--demo", "off"}).run.demo);
  world w;
  w.environment = {{"SLUICE_RUN_DEMO", "on"}, {"PATH", "/bin"}, {"PROXY_HTTP_API_AUTH_TOKEN", "s"}};
  const auto asked = w.ask({"run"});
  EXPECT_TRUE(asked.run.demo);
  EXPECT_THAT(asked.run.foreign_environment, ElementsAre("PATH=/bin"));
  EXPECT_THAT(w.ask({"run", "--demo", "perhaps"}).err, HasSubstr("SLUICE_RUN_DEMO"));
}

TEST(CommandLine, ProxyDefaultsAreThoseOfTheSrsProxy) {
  const auto asked = world().ask({"proxy"});
  ASSERT_EQ(asked.what, command::proxy) << asked.err;
  EXPECT_EQ(asked.proxy.rtmp.key, "PROXY_RTMP_SERVER");
  EXPECT_EQ(asked.proxy.rtmp.at.to_string(), "[::]:11935");
  EXPECT_EQ(asked.proxy.http.at.port, 18080);
  EXPECT_EQ(asked.proxy.http_api.at.port, 11985);
  EXPECT_EQ(asked.proxy.webrtc.at.port, 18000);
  EXPECT_EQ(asked.proxy.srt.at.port, 20080);
  EXPECT_EQ(asked.proxy.system_api.at.port, 12025);
  EXPECT_EQ(asked.proxy.origin_ttl, 300s);
  EXPECT_EQ(asked.proxy.recover_wait, 30s);
  EXPECT_EQ(asked.proxy.origin_suspect_after, 1s);
  EXPECT_EQ(asked.proxy.origin_dead_after, 2s);
  EXPECT_EQ(asked.proxy.grace_quit, 20s);
  EXPECT_EQ(asked.proxy.force_quit, 30s);
  EXPECT_EQ(asked.proxy.forced_end(), 30s);
  EXPECT_FALSE(asked.proxy.auth.enabled);
  EXPECT_FALSE(asked.proxy.default_backend.enabled);
  EXPECT_EQ(asked.proxy.default_backend.ip.to_string(), "127.0.0.1");
  EXPECT_EQ(asked.proxy.default_backend.rtmp, 1935);
  EXPECT_EQ(asked.proxy.default_backend.http, std::nullopt);
  EXPECT_EQ(asked.proxy.default_backend.api, 1985);
  EXPECT_EQ(asked.proxy.default_backend.rtc, 8000);
  EXPECT_EQ(asked.proxy.default_backend.srt, 10080);
  EXPECT_EQ(asked.proxy.redis.port, 6379);
  EXPECT_EQ(asked.proxy.ready_fd, -1);
  EXPECT_TRUE(asked.proxy.trusted_networks.at(0).contains(base::ip_address::parse("127.9.9.9").value()));
  EXPECT_THAT(asked.warnings, IsEmpty());
}

TEST(CommandLine, AGraceTimeAboveTheForcedEndCounts) {
  roles::proxy_config c;
  c.grace_quit = 60s;
  c.force_quit = 30s;
  EXPECT_EQ(c.forced_end(), 70s);
}

TEST(CommandLine, OriginDefaults) {
  const auto asked = world().ask({"origin"});
  ASSERT_EQ(asked.what, command::origin) << asked.err;
  EXPECT_EQ(asked.origin.rtmp.at.port, 1935);
  EXPECT_EQ(asked.origin.api.at.port, 1985);
  EXPECT_THAT(asked.origin.register_urls, IsEmpty());
  EXPECT_EQ(asked.origin.second_publisher, roles::second_publisher_policy::takeover_if_idle);
  EXPECT_TRUE(asked.origin.gop_cache);
  EXPECT_EQ(asked.origin.gop_bytes, 8u << 20);
}

TEST(CommandLine, PrecedenceFromDefaultToFlag) {
  world w;
  const auto wait = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"proxy", "--config", "c.yml"});
    const auto asked = w.ask(arguments);
    EXPECT_EQ(asked.err, "");
    return asked.proxy.play_wait;
  };
  w.files["c.yml"] = "";
  EXPECT_EQ(wait({}), 10s);
  w.files["c.yml"] = "play_wait: 1s\n";
  EXPECT_EQ(wait({}), 1s);
  w.files[".env"] = "PROXY_PLAY_WAIT=9s\nPROXY_PLAY_WAIT=2s\n";
  EXPECT_EQ(wait({}), 2s);
  EXPECT_EQ(wait({"--no-env-file"}), 1s);
  w.environment = {{"PROXY_PLAY_WAIT", ""}};
  EXPECT_EQ(wait({}), 2s) << "an empty variable is unset";
  w.environment = {{"PROXY_PLAY_WAIT", "3s"}};
  EXPECT_EQ(wait({}), 3s);
  EXPECT_EQ(wait({"--play-wait", "4s"}), 4s);
  EXPECT_EQ(wait({"--play-wait=5s"}), 5s);
}

TEST(CommandLine, EveryProxySettingIsReachableByFlagVariableAndKey) {
  roles::proxy_config config;
  const auto table = proxy_settings(config);
  for (const auto& s : table.settings) {
    const std::string value = s.default_text;
    const std::string yaml = s.name + ": \"" + value + "\"\n";
    EXPECT_EQ(world().ask({"proxy", table.flag(s) + "=" + (value.empty() ? "''" : value)}).err.find("unknown"),
              std::string::npos);
    const auto by_key = world{{}, {{"c", yaml}}}.ask({"proxy", "--config", "c"});
    EXPECT_EQ(by_key.err, "") << s.name;
    const auto by_variable = world{{{table.variable(s), value}}, {}}.ask({"proxy"});
    EXPECT_THAT(by_variable.warnings, IsEmpty()) << s.name;
  }
}

struct bad_case {
  std::vector<std::string> arguments;
  world around;
  std::vector<std::string> message;  // parts
};

TEST(CommandLine, WhatIsWrongIsNamedAndExitsOne) {
  const bad_case cases[] = {
      {{"proxy", "--rtmp-server", "70000"}, {}, {"PROXY_RTMP_SERVER", "--rtmp-server", "70000", "IP:PORT"}},
      {{"proxy"},
       {{{"PROXY_ORIGIN_SERVER_TTL", "soon"}}, {}},
       {"PROXY_ORIGIN_SERVER_TTL", "environment", "soon", "300s"}},
      {{"proxy"},
       {{}, {{".env", "\nPROXY_RELAY=maybe"}}},
       {"PROXY_RELAY", ".env line 2", "maybe", "auto, per-viewer, collapse"}},
      {{"proxy", "--config", "c.yml"},
       {{}, {{"c.yml", "shards: many"}}},
       {"PROXY_SHARDS", "shards in c.yml", "many", "0 to 1024"}},
      {{"proxy", "--config", "c.yml"},
       {{}, {{"c.yml", "rtmp_servr: 1"}}},
       {"c.yml", "unknown key rtmp_servr", "did you mean rtmp_server?"}},
      {{"proxy", "--config", "c.yml"}, {{}, {{"c.yml", "a: b: c"}}}, {"c.yml", "line 1"}},
      {{"proxy", "--config", "c.yml"},
       {{}, {{"c.yml", "shards: 1\nshards: 2"}}},
       {"c.yml", "line 2", "shards", "twice"}},
      {{"proxy", "--config", "c.yml"}, {{}, {{"c.yml", "relay: {a: 1}"}}}, {"c.yml", "line 1", "relay"}},
      {{"proxy", "--config", "none.yml"}, {}, {"--config", "none.yml", "cannot read"}},
      {{"proxy", "--rtmp-servr", "1"}, {}, {"unknown flag --rtmp-servr", "did you mean --rtmp-server?"}},
      {{"proxy", "--origins", "1"}, {}, {"unknown flag --origins"}},
      {{"proxy", "more"}, {}, {"unexpected argument more"}},
      {{"proxy", "--rtmp-server"}, {}, {"--rtmp-server"}},
      {{"proxy", "--shards", "1", "--shards", "2"}, {}, {"--shards"}},
      {{"prxy"}, {}, {"unknown command or flag prxy", "did you mean proxy?"}},
      {{"proxy", "--redis-sentinels", "a:1,b"}, {}, {"PROXY_REDIS_SENTINELS", "b", "HOST:PORT"}},
      {{"proxy", "--redis-cluster", "::1:7000"}, {}, {"PROXY_REDIS_CLUSTER", "[fd00::7]"}},
      {{"proxy", "--redis-key-prefix", "a{b}"}, {}, {"PROXY_REDIS_KEY_PREFIX", "{"}},
      {{"proxy", "--load-balancer-type", "redis", "--redis-sentinels", "a:1"}, {}, {"PROXY_REDIS_SENTINEL_MASTER"}},
      {{"proxy", "--load-balancer-type", "redis", "--redis-sentinel-master", "m"}, {}, {"PROXY_REDIS_SENTINELS"}},
      {{"proxy", "--load-balancer-type", "redis", "--redis-cluster", "a:1", "--redis-db", "2"}, {}, {"PROXY_REDIS_DB"}},
      {{"proxy", "--load-balancer-type", "redis", "--redis-username", "u"}, {}, {"PROXY_REDIS_PASSWORD"}},
      {{"proxy", "--load-balancer-type", "redis", "--redis-ca", "/ca"}, {}, {"PROXY_REDIS_CA", "PROXY_REDIS_TLS"}},
      {{"proxy", "--load-balancer-type", "mesh"},
       {},
       {"PROXY_LOAD_BALANCER_TYPE", "mesh", "not available in this build"}},
      {{"proxy", "--http-api-auth-enabled", "on"},
       {},
       {"PROXY_HTTP_API_AUTH_TYPE", "bearer", "PROXY_HTTP_API_AUTH_TOKEN"}},
      {{"proxy", "--origin-dead-after", "500ms"}, {}, {"PROXY_ORIGIN_DEAD_AFTER", "PROXY_ORIGIN_SUSPECT_AFTER"}},
      {{"proxy", "--origin-suspect-after", "1ms"}, {}, {"PROXY_ORIGIN_SUSPECT_AFTER", "200ms"}},
      {{"proxy", "--trusted-networks", "10.0.0.0/99"}, {}, {"PROXY_TRUSTED_NETWORKS", "10.0.0.0/99", "10.0.0.0/8"}},
      {{"proxy", "--message-bytes-max", "1GiB"}, {}, {"PROXY_MESSAGE_BYTES_MAX", "1GiB", "16777215"}},
      {{"origin", "--register", "10.0.0.1:12025"}, {}, {"SLUICE_ORIGIN_REGISTER", "http://"}},
      {{"origin", "--register", "http://127.0.0.1:99999/api/v1/srs/register"},
       {},
       {"SLUICE_ORIGIN_REGISTER", "99999", "port", "1 to 65535"}},
      {{"origin", "--register", "http://:1/x"}, {}, {"SLUICE_ORIGIN_REGISTER", "http://10.0.0.1"}},
      {{"origin", "--register", "http://a b/x"}, {}, {"SLUICE_ORIGIN_REGISTER", "http://10.0.0.1"}},
      {{"origin", "--server-id", "a b/.."}, {}, {"SLUICE_ORIGIN_SERVER_ID", "a b/..", "visible ASCII"}},
      {{"origin", "--server-id", std::string(300, 'a')}, {}, {"SLUICE_ORIGIN_SERVER_ID", "128"}},
      {{"origin", "--device-id", std::string(300, 'a')}, {}, {"SLUICE_ORIGIN_DEVICE_ID", "255"}},
      {{"origin"}, {{{"SLUICE_ORIGIN_WEIGHT", "0"}}, {}}, {"SLUICE_ORIGIN_WEIGHT", "1 to 1000"}},
      {{"run", "--origins", "x"}, {}, {"SLUICE_RUN_ORIGINS", "--origins", "x"}},
      {{"run"}, {{{"SLUICE_ORIGIN_GOP_CACHE", "maybe"}}, {}}, {"SLUICE_ORIGIN_GOP_CACHE", "maybe"}},
      {{"run"}, {{{"PROXY_RTMP_SERVER", "x"}}, {}}, {"PROXY_RTMP_SERVER"}},
  };
  for (const auto& c : cases) {
    const auto asked = c.around.ask(c.arguments);
    EXPECT_EQ(asked.what, command::none);
    EXPECT_EQ(asked.exit_code, 1);
    for (const auto& part : c.message) EXPECT_THAT(asked.err, HasSubstr(part));
  }
}

TEST(CommandLine, AllErrorsAreToldAtOnce) {
  const auto asked = world{{{"PROXY_RTMP_SERVER", "x"}, {"PROXY_SHARDS", "y"}}, {}}.ask({"proxy"});
  EXPECT_THAT(asked.err, HasSubstr("PROXY_RTMP_SERVER"));
  EXPECT_THAT(asked.err, HasSubstr("PROXY_SHARDS"));
}

TEST(CommandLine, SecretsAreNotRepeated) {
  EXPECT_THAT(world().ask({"proxy", "--redis-password", "hush", "--shards", "x"}).err, Not(HasSubstr("hush")));
}

TEST(CommandLine, UnknownVariablesAreWarnedOfUnlessKubernetesMadeThem) {
  const world w{{{"PROXY_RTMP_SERVR", "1935"},
                 {"PROXY_SERVICE_HOST", "10.0.0.1"},
                 {"PROXY_SERVICE_PORT", "1935"},
                 {"PROXY_SERVICE_PORT_RTMP", "1935"},
                 {"PROXY_PORT", "tcp://10.0.0.1:1935"},
                 {"PROXY_PORT_1935_TCP", "tcp://10.0.0.1:1935"},
                 {"PROXY_PORT_1935_TCP_PROTO", "tcp"},
                 {"PROXY_PORT_1935_TCP_PORT", "1935"},
                 {"PROXY_PORT_1935_TCP_ADDR", "10.0.0.1"},
                 {"PROXY_REDIS_SERVICE_HOST", "10.0.0.2"},
                 {"PROXY_REDIS_PORT_6379_TCP_PORT", "6379"},
                 {"PROXY_HTTP_API_PORT", "tcp://10.0.0.3:1985"},
                 {"SLUICE_ORIGIN_NONSENSE", "of another role"},
                 {"PATH", "/bin"}},
                {{".env", "PROXY_NONSENSE=1\nOTHER=2\n"}}};
  const auto asked = w.ask({"proxy"});
  ASSERT_EQ(asked.what, command::proxy) << asked.err;
  ASSERT_EQ(asked.warnings.size(), 2u);
  EXPECT_THAT(asked.warnings[0], HasSubstr("PROXY_RTMP_SERVR"));
  EXPECT_THAT(asked.warnings[0], HasSubstr("did you mean PROXY_RTMP_SERVER?"));
  EXPECT_THAT(asked.warnings[1], HasSubstr("PROXY_NONSENSE (from .env line 1)"));
}

TEST(CommandLine, RedisPortOfKubernetesIsUnderstood) {
  const auto asked = world{{{"PROXY_REDIS_PORT", "tcp://10.0.0.1:6380"}}, {}}.ask({"proxy"});
  ASSERT_EQ(asked.what, command::proxy) << asked.err;
  EXPECT_EQ(asked.proxy.redis.port, 6380);
  EXPECT_THAT(asked.warnings, ElementsAre(HasSubstr("Kubernetes")));
}

TEST(CommandLine, RedisInAllItsForms) {
  const auto asked = world{
      {{"PROXY_LOAD_BALANCER_TYPE", "redis"},
       {"PROXY_REDIS_SENTINELS", "redis-0:26379, [fd00::7]:26380,10.0.0.1:1"},
       {"PROXY_REDIS_SENTINEL_MASTER", "live"},
       {"PROXY_REDIS_USERNAME", "sluice"},
       {"PROXY_REDIS_PASSWORD", "hush"},
       {"PROXY_REDIS_TLS", "on"},
       {"PROXY_REDIS_CA", "/ca.pem"}},
      {}}.ask({"proxy"});
  ASSERT_EQ(asked.what, command::proxy) << asked.err;
  const auto& redis = asked.proxy.redis;
  EXPECT_EQ(asked.proxy.balancer, roles::load_balancer::redis);
  EXPECT_THAT(redis.sentinels, ElementsAre(resp::host_port{"redis-0", 26379}, resp::host_port{"fd00::7", 26380},
                                           resp::host_port{"10.0.0.1", 1}));
  EXPECT_EQ(redis.sentinel_master, "live");
  EXPECT_EQ(redis.username + "/" + redis.password, "sluice/hush");
  EXPECT_TRUE(redis.tls);
  EXPECT_EQ(redis.ca_file, "/ca.pem");
}

TEST(CommandLine, ListsByFlagVariableAndYaml) {
  const std::string a = "http://a/r";
  const std::string b = "http://b/r";
  const world w{{{"SLUICE_ORIGIN_REGISTER", a + ", " + b}}, {{"c", "register: [" + a + ", " + b + "]\n"}}};
  EXPECT_THAT(w.ask({"origin"}).origin.register_urls, ElementsAre(a, b));
  EXPECT_THAT(w.ask({"origin", "--register", a, "--register", b, "--rtmp", "0"}).origin.register_urls,
              ElementsAre(a, b));
  EXPECT_THAT(world({}, w.files).ask({"origin", "--config", "c"}).origin.register_urls, ElementsAre(a, b));
}

TEST(CommandLine, HelpAndVersion) {
  EXPECT_EQ(world().ask({"version"}).what, command::version);
  EXPECT_EQ(world().ask({"--version"}).what, command::version);
  const auto top = world().ask({"--help"});
  EXPECT_EQ(top.exit_code, 0);
  for (const char* sub : {"proxy", "origin", "run", "version"}) EXPECT_THAT(top.out, HasSubstr(sub));
  const auto proxy = world().ask({"proxy", "--help"});
  EXPECT_EQ(proxy.exit_code, 0);
  for (const char* part : {"--rtmp-server", "PROXY_RTMP_SERVER", "11935", "Examples:", "Listening:"}) {
    EXPECT_THAT(proxy.out, HasSubstr(part));
  }
  EXPECT_THAT(world().ask({"run", "--help"}).out, HasSubstr("--origins"));
  EXPECT_THAT(world().ask({"run", "--help"}).out, HasSubstr("default 1935"));
  const auto none = world().ask({});
  EXPECT_EQ(none.exit_code, 1);
  EXPECT_THAT(none.err, HasSubstr("proxy"));
}

TEST(CommandLine, ReadyFd) {
  EXPECT_EQ(world().ask({"proxy", "--ready-fd", "7"}).proxy.ready_fd, 7);
  EXPECT_EQ(world().ask({"origin", "--ready-fd", "8"}).origin.ready_fd, 8);
}

TEST(CommandLine, RunHandsOnWhatItWasGiven) {
  const world w{{{"PROXY_PLAY_WAIT", "1s"},
                 {"PROXY_HTTP_API_AUTH_TOKEN", "hush"},
                 {"PROXY_HTTP_API_AUTH_TYPE", "bearer"},
                 {"PROXY_HTTP_API_AUTH_ENABLED", "on"},
                 {"SLUICE_ORIGIN_GOP_CACHE", "off"},
                 {"HOME", "/root"}},
                {{".env", "PROXY_MERGE=5ms\n"}}};
  const auto asked = w.ask({"run", "--origins", "3", "--log-format", "json", "--rtmp-server", "127.0.0.1:0"});
  ASSERT_EQ(asked.what, command::run) << asked.err;
  EXPECT_EQ(asked.run.origins, 3u);
  EXPECT_EQ(asked.run.log_format, runtime::log_format::json);
  EXPECT_EQ(asked.run.proxy.rtmp.at.to_string(), "127.0.0.1:0");
  EXPECT_EQ(asked.run.proxy.http_api.at.port, 1985);
  EXPECT_TRUE(asked.run.proxy.only_default_vhost);

  // The children read the same values again, from what they are given and nothing else.
  const auto as_variables = [](const std::vector<std::string>& texts) {
    variables out;
    for (const auto& text : texts) out.emplace_back(text.substr(0, text.find('=')), text.substr(text.find('=') + 1));
    return out;
  };
  auto arguments = asked.run.proxy_arguments;
  for (const auto& argument : arguments) EXPECT_THAT(argument, Not(HasSubstr("hush")));
  EXPECT_THAT(arguments, Not(Contains("--rtmp-server")));
  EXPECT_THAT(asked.run.proxy_environment, Contains("HOME=/root"));
  arguments.insert(arguments.begin(), "proxy");
  const auto proxy = world{as_variables(asked.run.proxy_environment), {}}.ask(arguments);
  ASSERT_EQ(proxy.what, command::proxy) << proxy.err;
  EXPECT_EQ(proxy.proxy.play_wait, 1s);
  EXPECT_EQ(proxy.proxy.merge, 5ms);
  EXPECT_EQ(proxy.proxy.grace_quit, 5s);
  EXPECT_TRUE(proxy.proxy.only_default_vhost);
  EXPECT_TRUE(proxy.proxy.auth.enabled);
  EXPECT_EQ(proxy.proxy.auth.token, "hush");
  EXPECT_EQ(proxy.proxy.log_format, runtime::log_format::json);

  auto origin_arguments = asked.run.origin_arguments;
  origin_arguments.insert(origin_arguments.begin(), "origin");
  const auto origin = world{as_variables(asked.run.origin_environment), {}}.ask(origin_arguments);
  ASSERT_EQ(origin.what, command::origin) << origin.err;
  EXPECT_FALSE(origin.origin.gop_cache);
  EXPECT_EQ(origin.origin.register_token, "hush");
  EXPECT_EQ(origin.origin.log_format, runtime::log_format::json);
}

}  // namespace
}  // namespace sluice::app
