#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "proto/amf0/value.hpp"

// Round trips over generated values: what is encoded decodes to the same bytes again, whole, with nothing left over,
// and no prefix of it is taken for the whole.
namespace sluice::amf0 {
namespace {

rc::Gen<std::string> arbitrary_text() { return rc::gen::arbitrary<std::string>(); }

value scalar() {
  switch (*rc::gen::inRange(0, 10)) {
    case 0:
      return value(*rc::gen::arbitrary<double>());
    case 1:
      return value(*rc::gen::arbitrary<bool>());
    case 2:
      return value(*arbitrary_text());
    case 3:
      return value(value::storage(undefined{}));
    case 4:
      return value(value::storage(reference{*rc::gen::arbitrary<uint16_t>()}));
    case 5:
      return value(value::storage(date{*rc::gen::arbitrary<double>(), *rc::gen::arbitrary<int16_t>()}));
    case 6:
      return value(value::storage(xml_document{*arbitrary_text()}));
    case 7:
      return value(value::storage(unsupported{}));
    default:
      return value();
  }
}

value any_value(int depth);

object any_members(int depth) {
  object members;
  for (int i = *rc::gen::inRange(0, 4); i > 0; --i) members.emplace_back(*arbitrary_text(), any_value(depth));
  return members;
}

value any_value(int depth) {
  if (depth == 0) return scalar();
  switch (*rc::gen::inRange(0, 8)) {
    case 0:
      return value(any_members(depth - 1));
    case 1:
      return value(value::storage(ecma_array{any_members(depth - 1)}));
    case 2:
      return value(value::storage(typed_object{*arbitrary_text(), any_members(depth - 1)}));
    case 3: {
      strict_array array;
      for (int i = *rc::gen::inRange(0, 4); i > 0; --i) array.items.push_back(any_value(depth - 1));
      return value(value::storage(std::move(array)));
    }
    default:
      return scalar();
  }
}

TEST(amf0_property, round_trip) {
  EXPECT_TRUE(rc::check([] {
    std::vector<value> values;
    for (int i = *rc::gen::inRange(0, 5); i > 0; --i) values.push_back(any_value(4));
    std::vector<uint8_t> bytes, again;
    encode_all(values, bytes);
    const auto decoded = decode_all(bytes, {.values_max = SIZE_MAX});
    RC_ASSERT(decoded.has_value());
    RC_ASSERT(decoded->size() == values.size());
    for (size_t i = 0; i < values.size(); ++i) RC_ASSERT((*decoded)[i].get().index() == values[i].get().index());
    encode_all(*decoded, again);
    RC_ASSERT(again == bytes);
  }));
}

TEST(amf0_property, arbitrary_bytes_never_yield_more_values_than_bytes) {
  EXPECT_TRUE(rc::check([](const std::vector<uint8_t>& bytes) {
    const auto decoded = decode_all(bytes);
    if (decoded) RC_ASSERT(decoded->size() <= bytes.size());
  }));
}

}  // namespace
}  // namespace sluice::amf0
