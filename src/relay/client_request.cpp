#include "relay/client_request.hpp"

#include <fmt/format.h>

#include "proto/proxy/address_prefix.hpp"
#include "servers/rtmp/capabilities.hpp"

namespace sluice::relay {
namespace {

// Members of a client's command object that the request says by itself, or that only a proxy may say.
bool ours(std::string_view name) { return name == "app" || name == "tcUrl" || name == "sluice"; }

amf0::value note_for(std::string session, const cluster::assignment& to, const link_terms& terms) {
  servers::peer_note note;
  note.session = std::move(session);
  note.epoch = to.epoch;
  note.source = terms.source;
  note.next = terms.next;
  note.numbered = true;
  return note.to_amf();
}

void say_canonical(rtmp::client_request& request, const cluster::stream_key& key) {
  request.app = key.app;
  request.tc_url = fmt::format("rtmp://{}/{}", key.vhost, key.app);
  request.name = key.stream;
}

amf0::object command_object(const client_ask& ask, const cluster::assignment& to, const link_terms& terms) {
  amf0::object members;
  for (const auto& [name, v] : ask.connect->command_object.members())
    if (!ours(name)) members.emplace_back(name, v);
  if (to.is_sluice) members.emplace_back("sluice", note_for(ask.session, to, terms));
  return members;
}

}  // namespace

rtmp::client_request request_for(const client_ask& ask, rtmp::client_intent intent, const cluster::assignment& to,
                                 const link_terms& terms, const relay_config& config) {
  rtmp::client_request request;
  request.intent = intent;
  if (to.is_sluice) {
    say_canonical(request, ask.address.key);
    if (!ask.address.query.empty()) request.name += "?" + ask.address.query;
  } else {
    request.app = ask.connect->app;
    request.tc_url = ask.connect->tc_url;
    request.name = ask.name;
    request.arguments = ask.connect->arguments;
  }
  request.command_object = command_object(ask, to, terms);
  const bool prefix =
      config.prefix == address_prefix::always || (config.prefix == address_prefix::sluice_only && to.is_sluice);
  // SRS reads four bytes only: an IPv6 client's address goes to Sluice origins alone.
  if (prefix && (to.is_sluice || ask.peer.address.is_v4()))
    request.prefix = sluice::address_prefix::build(ask.peer.address);
  return request;
}

rtmp::client_request shared_request_for(const client_ask& ask, const cluster::assignment& to, const link_terms& terms) {
  rtmp::client_request request;
  request.intent = rtmp::client_intent::play;
  if (to.is_sluice) {
    say_canonical(request, ask.address.key);
    request.command_object = amf0::object{{"sluice", note_for(ask.session + "-pull", to, terms)}};
  } else {
    request.app = ask.connect->app;
    request.tc_url = ask.connect->tc_url;
    request.name = ask.name;
  }
  return request;
}

}  // namespace sluice::relay
