#include "proto/mp4/fragment.hpp"

#include "proto/mp4/box.hpp"

namespace sluice::mp4 {
namespace {

void zeros(base::byte_writer& w, size_t count) {
  while (count--) w.u8(0);
}

// The unity matrix of mvhd and tkhd (§8.2.2).
void unity_matrix(base::byte_writer& w) {
  for (const uint32_t v : {0x10000u, 0u, 0u, 0u, 0x10000u, 0u, 0u, 0u, 0x40000000u}) w.u32(v);
}

// §8.2.2; the duration of a live movie is not known: 0, as everything is in fragments.
void movie_header(bytes& out, uint32_t next_track_id) {
  const box b(out, "mvhd", 0, 0);
  base::byte_writer w(out);
  zeros(w, 8);
  w.u32(1000);
  w.u32(0);
  w.u32(0x00010000);
  w.u16(0x0100);
  zeros(w, 10);
  unity_matrix(w);
  zeros(w, 24);
  w.u32(next_track_id);
}

void track_header(bytes& out, const track& t) {
  constexpr uint32_t enabled = 1, in_movie = 2, in_preview = 4;
  const box b(out, "tkhd", 0, enabled | in_movie | in_preview);
  base::byte_writer w(out);
  zeros(w, 8);
  w.u32(t.id);
  zeros(w, 4 + 4 + 8 + 2 + 2);
  w.u16(t.video ? 0 : 0x0100);
  w.u16(0);
  unity_matrix(w);
  w.u32(uint32_t{t.width} << 16);
  w.u32(uint32_t{t.height} << 16);
}

void media_header(bytes& out, const track& t) {
  {
    const box b(out, "mdhd", 0, 0);
    base::byte_writer w(out);
    zeros(w, 8);
    w.u32(t.timescale);
    w.u32(0);
    w.u16(0x55C4);  // "und"
    w.u16(0);
  }
  const box b(out, "hdlr", 0, 0);
  base::byte_writer w(out);
  w.u32(0);
  w.text(t.video ? "vide" : "soun");
  zeros(w, 12);
  w.text(t.video ? "video" : "sound");
  w.u8(0);
}

// The tables of a fragmented file's moov are there and empty (§8.8.1).
void sample_table(bytes& out, const track& t) {
  const box b(out, "stbl");
  {
    const box stsd(out, "stsd", 0, 0);
    base::byte_writer w(out);
    w.u32(1);
    w.bytes(t.sample_entry);
  }
  for (const auto* name : {"stts", "stsc"}) {
    const box table(out, name, 0, 0);
    base::byte_writer(out).u32(0);
  }
  {
    const box stsz(out, "stsz", 0, 0);
    base::byte_writer(out).u64(0);
  }
  const box stco(out, "stco", 0, 0);
  base::byte_writer(out).u32(0);
}

void media_information(bytes& out, const track& t) {
  const box b(out, "minf");
  if (t.video) {
    const box vmhd(out, "vmhd", 0, 1);
    base::byte_writer(out).u64(0);
  } else {
    const box smhd(out, "smhd", 0, 0);
    base::byte_writer(out).u32(0);
  }
  {
    const box dinf(out, "dinf");
    const box dref(out, "dref", 0, 0);
    base::byte_writer(out).u32(1);
    const box url(out, "url ", 0, 1);  // the media is in this file
  }
  sample_table(out, t);
}

void track_box(bytes& out, const track& t) {
  const box trak(out, "trak");
  track_header(out, t);
  const box mdia(out, "mdia");
  media_header(out, t);
  media_information(out, t);
}

void track_extends(bytes& out, const track& t) {
  const box b(out, "trex", 0, 0);
  base::byte_writer w(out);
  w.u32(t.id);
  w.u32(1);  // sample description
  zeros(w, 12);
}

void file_type(bytes& out, std::string_view type) {
  const box b(out, type);
  base::byte_writer w(out);
  w.text("iso6");  // default-base-is-moof, tfdt and signed offsets (§E.10)
  w.u32(0);
  w.text(type == "styp" ? "iso6msdh" : "iso6mp41");
}

// §8.8.7, §8.8.8, §8.8.12. Returns where the run's data offset stands.
size_t track_fragment(bytes& out, const track_run& run) {
  constexpr uint32_t default_base_is_moof = 0x020000;
  constexpr uint32_t has_data_offset = 0x1, has_duration = 0x100, has_size = 0x200, has_flags = 0x400,
                     has_composition_offset = 0x800;
  // §8.8.3.1: sample_depends_on 2 (on no other); 1 (on others) with sample_is_non_sync_sample.
  constexpr uint32_t sync_flags = 0x02000000, other_flags = 0x01010000;
  const box traf(out, "traf");
  base::byte_writer w(out);
  {
    const box tfhd(out, "tfhd", 0, default_base_is_moof);
    w.u32(run.track_id);
  }
  {
    const box tfdt(out, "tfdt", 1, 0);
    w.u64(run.decode_time);
  }
  const box trun(out, "trun", 1, has_data_offset | has_duration | has_size | has_flags | has_composition_offset);
  w.u32(static_cast<uint32_t>(run.samples.size()));
  const size_t offset_at = out.size();
  w.u32(0);
  for (const auto& s : run.samples) {
    w.u32(s.duration);
    w.u32(static_cast<uint32_t>(s.data.size()));
    w.u32(s.sync ? sync_flags : other_flags);
    w.u32(static_cast<uint32_t>(s.composition_offset));
  }
  return offset_at;
}

void movie(bytes& out, std::span<const track> tracks) {
  const box moov(out, "moov");
  movie_header(out, static_cast<uint32_t>(tracks.size()) + 1);
  for (const auto& t : tracks) track_box(out, t);
  const box mvex(out, "mvex");
  for (const auto& t : tracks) track_extends(out, t);
}

// The data of all runs; `offsets_at` says where each run's data offset, counted from the moof, is to be written.
void media_data(bytes& out, std::span<const track_run> runs, size_t moof_at, std::span<const size_t> offsets_at) {
  const box mdat(out, "mdat");
  size_t n = 0;
  for (const auto& run : runs) {
    if (run.samples.empty()) continue;
    box::patch_u32(out, offsets_at[n++], static_cast<uint32_t>(out.size() - moof_at));
    for (const auto& s : run.samples) base::byte_writer(out).bytes(s.data);
  }
}

}  // namespace

bytes init_segment(std::span<const track> tracks) {
  bytes out;
  file_type(out, "ftyp");
  movie(out, tracks);
  return out;
}

bytes media_segment(uint32_t sequence, std::span<const track_run> runs) {
  constexpr size_t sample_size = 16, heads_size = 256;
  size_t data = 0, samples = 0;
  for (const auto& run : runs) {
    samples += run.samples.size();
    for (const auto& s : run.samples) data += s.data.size();
  }
  bytes out;
  out.reserve(data + samples * sample_size + heads_size);
  file_type(out, "styp");
  const size_t moof_at = out.size();
  std::vector<size_t> offsets_at;
  {
    const box moof(out, "moof");
    {
      const box mfhd(out, "mfhd", 0, 0);
      base::byte_writer(out).u32(sequence);
    }
    for (const auto& run : runs) {
      if (!run.samples.empty()) offsets_at.push_back(track_fragment(out, run));
    }
  }
  media_data(out, runs, moof_at, offsets_at);
  return out;
}

}  // namespace sluice::mp4
