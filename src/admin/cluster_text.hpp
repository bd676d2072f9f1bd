#pragma once

#include <boost/json/object.hpp>
#include <string>
#include <string_view>

#include "admin/cluster_api.hpp"

namespace sluice::admin {

/// What an origin or a client made up, as it may be shown: short, and text.
std::string shown(std::string_view text);

/// The body of /api/v1/sluice/cluster: streams by name, `count` of them from the `start`th.
std::string cluster_body(const cluster_report& report, size_t start, size_t count);
/// Takes in what another proxy's cluster_body() tells. Of a stream the higher epoch counts, and who publishes it; its
/// viewers and bytes add up. Of an origin the worse state, the higher load, the later sign of life. Error reason:
/// bad_report (nothing was taken in, or a part).
base::result<void> merge_cluster(cluster_report& into, std::string_view body);

/// The only stream of a report, as JSON.
boost::json::object stream_object(const std::string& name, const cluster_report& report);
boost::json::array event_array(const std::vector<cluster::history_event>& events);

/// A stream's story for another proxy, and back: events are put in order, and what both have is told once.
std::string story_text(const stream_story& story);
/// Error reason: bad_report.
base::result<void> merge_story(stream_story& into, std::string_view text);

}  // namespace sluice::admin
