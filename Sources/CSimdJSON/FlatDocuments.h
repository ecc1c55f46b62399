// Documents that are one object of plain values, of which a few fields are wanted: most lines of most logs and queues.
//
// simdjson's first stage runs once over many of them; of its tokens this walk reads one document after the other and
// writes a tape that has the wanted fields only. It takes what it can read as exactly as simdjson's second stage does,
// values that nobody wants included, and leaves every other document to that one: where an escape, a nested value,
// a number that is not short, or anything that may be an error stands in it.
#ifndef FLAT_DOCUMENTS_H
#define FLAT_DOCUMENTS_H

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace flat {

/// The fields that are wanted. Their names stand in one block in the form of simdjson's strings, to be copied to the front
/// of a string arena: that is where the tape's keys point.
class Fields {
public:
  static constexpr size_t maximumCount = 64;
  static constexpr size_t maximumLength = 56;

  /// False where there are too many or too long ones.
  bool assign(const uint8_t *const *names, const size_t *lengths, size_t count) {
    *this = Fields();
    if (count > maximumCount) { return false; }
    for (size_t i = 0; i < count; i++) {
      if (lengths[i] > maximumLength) {
        *this = Fields();
        return false;
      }
      const uint32_t length = uint32_t(lengths[i]);
      Field &field = fields[fieldCount];
      std::memcpy(text + size, &length, 4);
      std::memcpy(text + size + 4, names[i], length);
      text[size + 4 + length] = 0;
      field.string = size;
      field.prefix = load(text + size + 4) & mask(length);
      field.suffix = length > 8 ? load(text + size + 4 + length - 8) : 0;
      field.next = byLength[length];
      byLength[length] = uint8_t(++fieldCount);
      size += 4 + length + 1;
    }
    return count > 0;
  }

  bool isEmpty() const { return fieldCount == 0; }
  size_t byteCount() const { return size; }
  void write(uint8_t *strings) const { std::memcpy(strings, text, size); }

  /// Where the name of a wanted field stands in the arena; -1 where it is not wanted. Most names differ in length. Eight
  /// bytes behind the name are readable.
  int64_t find(const uint8_t *name, size_t length) const {
    if (length > maximumLength) { return -1; }
    for (size_t number = byLength[length]; number != 0; number = fields[number - 1].next) {
      const Field &field = fields[number - 1];
      if ((load(name) & mask(length)) != field.prefix) { continue; }
      if (length > 8 && load(name + length - 8) != field.suffix) { continue; }
      if (length <= 16 || std::memcmp(text + field.string + 4, name, length) == 0) { return int64_t(field.string); }
    }
    return -1;
  }

private:
  struct Field {
    /// The first eight bytes, zeros behind the end, and the last eight of a longer name.
    uint64_t prefix;
    uint64_t suffix;
    size_t string;
    /// The number of the next one of the same length, from 1; 0: there is none.
    uint8_t next;
  };

  static uint64_t load(const uint8_t *bytes) {
    uint64_t word;
    std::memcpy(&word, bytes, 8);
    return word;
  }
  /// The bytes of a word that a name fills; words are little-endian.
  static uint64_t mask(size_t length) { return length >= 8 ? ~uint64_t(0) : (uint64_t(1) << (length * 8)) - 1; }

  Field fields[maximumCount];
  uint8_t text[maximumCount * (maximumLength + 5) + 8] = {};
  uint8_t byLength[maximumLength + 1] = {};
  size_t fieldCount = 0;
  size_t size = 0;
};

/// A number that needs no more care: an integer of up to 18 digits, or one with a point whose digits fit a double's 53 bits,
/// so that one division rounds it rightly (W. Clinger, "How to read floating point numbers accurately", 1990).
struct Number {
  bool isDouble;
  uint64_t bits;

  [[gnu::always_inline]] bool read(const uint8_t *at, const uint8_t *end) {
    static constexpr double powers[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8, 1e9,
                                        1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18};
    const bool isNegative = *at == '-';
    at += isNegative;
    if (end - at > 19) { return false; }
    const uint8_t *const whole = at;
    uint64_t value = 0;
    for (; at < end && uint8_t(*at - '0') < 10; at++) { value = value * 10 + (*at - '0'); }
    const size_t digits = size_t(at - whole);
    if (digits == 0 || (digits > 1 && *whole == '0')) { return false; }
    if (at == end) {
      if (digits > 18 || (isNegative && value == 0)) { return false; }
      isDouble = false;
      bits = isNegative ? ~value + 1 : value;
      return true;
    }
    if (*at != '.') { return false; }
    const uint8_t *const fraction = ++at;
    for (; at < end && uint8_t(*at - '0') < 10; at++) { value = value * 10 + (*at - '0'); }
    const size_t decimals = size_t(at - fraction);
    if (at != end || decimals == 0 || value > (uint64_t(1) << 53) || (isNegative && value == 0)) { return false; }
    const double magnitude = double(value) / powers[decimals];
    const double number = isNegative ? -magnitude : magnitude;
    isDouble = true;
    std::memcpy(&bits, &number, 8);
    return true;
  }
};

/// Tokens of simdjson's first stage over several documents, and the walk over them.
class Walk {
public:
  /// - `text`: what the positions count from; at least 64 readable bytes behind the last document.
  Walk(const uint8_t *text, const uint32_t *positions, size_t count)
      : text(text), positions(positions), count(count) {}

  /// Goes on to the first token at `place` or behind it.
  void skip(size_t place) {
    while (token < count && positions[token] < place) { token++; }
  }

  /// Reads the document from `begin` to `end`, in which no backslash stands. A document that begins with a brace outside
  /// of strings has the tokens that it would have alone, whatever is in front of it.
  ///
  /// - `strings`: the arena, room for the document's strings and 64 bytes behind `used`.
  /// - Returns the number of words written, and raises `used`; 0 where the document is not one for this walk.
  size_t read(size_t begin, size_t end, const Fields &fields, uint64_t *tape, uint8_t *strings, size_t &used) {
    if (token >= count || positions[token] != begin || text[begin] != '{') { return 0; }
    size_t next = token + 1;
    size_t word = 2;
    uint64_t wanted = 0;
    size_t room = used;
    if (next < count && positions[next] < end && text[positions[next]] == '}') {
      next++;
    } else {
      while (true) {
        if (next + 3 >= count || positions[next + 3] >= end) { return 0; }
        const uint8_t *const key = text + positions[next];
        const uint8_t *const colon = text + positions[next + 1];
        const uint8_t *const value = text + positions[next + 2];
        const uint8_t *const behind = text + positions[next + 3];
        // A token's quote and the quote in front of the next token are those of one string.
        if (*key != '"' || *colon != ':' || colon[-1] != '"' || colon - key < 2) { return 0; }
        const int64_t name = fields.find(key + 1, size_t(colon - key) - 2);
        uint64_t first = 0;
        uint64_t second = 0;
        bool hasSecond = false;
        switch (*value) {
        case '"': {
          if (behind[-1] != '"' || behind - value < 2) { return 0; }
          if (name < 0) { break; }
          const size_t length = size_t(behind - value) - 2;
          const uint32_t prefix = uint32_t(length);
          uint8_t *const target = strings + room;
          std::memcpy(target, &prefix, 4);
          if (length <= 32) {
            // Both sides have the room.
            std::memcpy(target + 4, value + 1, 32);
          } else {
            std::memcpy(target + 4, value + 1, length);
          }
          target[4 + length] = 0;
          first = tagged('"', room);
          room += 4 + length + 1;
          break;
        }
        case 't':
          if (behind - value != 4 || std::memcmp(value, "true", 4) != 0) { return 0; }
          first = tagged('t', 0);
          break;
        case 'f':
          if (behind - value != 5 || std::memcmp(value, "false", 5) != 0) { return 0; }
          first = tagged('f', 0);
          break;
        case 'n':
          if (behind - value != 4 || std::memcmp(value, "null", 4) != 0) { return 0; }
          first = tagged('n', 0);
          break;
        default: {
          Number number;
          if (!number.read(value, behind)) { return 0; }
          first = tagged(number.isDouble ? 'd' : 'l', 0);
          second = number.bits;
          hasSecond = true;
        }
        }
        if (name >= 0) {
          tape[word++] = tagged('"', uint64_t(name));
          tape[word++] = first;
          if (hasSecond) { tape[word++] = second; }
          wanted++;
        }
        next += 4;
        if (*behind == '}') { break; }
        if (*behind != ',') { return 0; }
      }
    }
    if (next < count && positions[next] < end) { return 0; }
    tape[word++] = tagged('}', 1);
    tape[1] = tagged('{', wanted << 32 | word);
    tape[word++] = tagged('r', 0);
    tape[0] = tagged('r', word);
    token = next;
    used = room;
    return word;
  }

private:
  static uint64_t tagged(char tag, uint64_t payload) { return uint64_t(uint8_t(tag)) << 56 | payload; }

  const uint8_t *text;
  const uint32_t *positions;
  size_t count;
  size_t token = 0;
};

} // namespace flat

#endif
