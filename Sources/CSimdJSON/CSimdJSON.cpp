#include "CSimdJSON.h"
#include "FlatDocuments.h"

#include <simdjson.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string>

using simdjson::error_code;
using simdjson::internal::dom_parser_implementation;

namespace {

using Implementation = std::unique_ptr<dom_parser_implementation>;

/// Memory that grows and is never initialised.
template <typename T> struct Arena {
  T *data = nullptr;
  size_t capacity = 0;

  Arena() = default;
  Arena(const Arena &) = delete;
  Arena &operator=(const Arena &) = delete;
  ~Arena() { std::free(data); }

  bool reserve(size_t count) {
    if (count <= capacity) { return true; }
    count += count / 4;
    std::free(data);
    data = static_cast<T *>(std::malloc(count * sizeof(T)));
    capacity = data ? count : 0;
    return data != nullptr;
  }
};

/// Lends simdjson a place inside the arenas to write one document to, and takes it back: `document` owns nothing.
struct LentDocument {
  simdjson::dom::document document;

  LentDocument(uint64_t *tape, uint8_t *strings) {
    document.tape.reset(tape);
    document.string_buf.reset(strings);
  }
  ~LentDocument() {
    (void)document.tape.release();
    (void)document.string_buf.release();
  }
  /// The root word's payload is the index behind the document's last word.
  uint32_t words() const { return uint32_t(document.tape[0] & 0xffffffff); }
};

constexpr size_t padding = simdjson::SIMDJSON_PADDING;
static_assert(padding <= CSIMDJSON_PADDING, "the header promises too few readable bytes");

error_code make(Implementation &implementation, size_t bytes, size_t depth) {
  if (!implementation) {
    error_code error = simdjson::get_active_implementation()->create_dom_parser_implementation(
        0, depth, implementation);
    if (error) { return error; }
  }
  if (bytes <= implementation->capacity()) { return simdjson::SUCCESS; }
  size_t capacity = bytes + bytes / 4 < simdjson::SIMDJSON_MAXSIZE_BYTES ? bytes + bytes / 4 : bytes;
  return implementation->allocate(capacity < 4096 ? 4096 : capacity, depth);
}

} // namespace

struct csimdjson_parser {
  size_t maximumBytes;
  size_t maximumDepth;
  Implementation documents;
  Implementation structurals;
  Arena<uint64_t> tape;
  Arena<uint8_t> strings;
  Arena<uint8_t> padded;
  size_t nextWord = 0;
  size_t nextString = 0;
  /// The fields that are read of flat documents; empty: no document is.
  flat::Fields fields;
  Implementation runs;
  /// Runs that are not tried, after one with few flat documents.
  size_t runsLeftOut = 0;

  /// How much of the string arena a document can have used: a string's length word and terminator cost more than its
  /// quotes, but each string is followed by a structural character.
  void advance(const LentDocument &lent, size_t bytes, size_t structurals) {
    nextWord += lent.words();
    nextString += bytes + structurals + 8;
  }

  /// Text with `padding` readable bytes behind it, copied if it has not.
  const uint8_t *withPadding(const uint8_t *base, size_t readable, uint64_t offset, uint64_t length) {
    if (readable - (offset + length) >= padding) { return base + offset; }
    if (!padded.reserve(length + padding)) { return nullptr; }
    std::memcpy(padded.data, base + offset, length);
    std::memset(padded.data + length, ' ', padding);
    return padded.data;
  }

  void parseOne(const uint8_t *base, size_t readable, csimdjson_text text, csimdjson_document &result) {
    result = {nextWord, nextString, 0, simdjson::SUCCESS, 0};
    if (text.length > maximumBytes) {
      result.error = simdjson::CAPACITY;
      return;
    }
    if (text.length == 0) {
      result.error = simdjson::EMPTY;
      return;
    }
    const uint8_t *bytes = withPadding(base, readable, text.offset, text.length);
    if (!bytes) {
      result.error = simdjson::MEMALLOC;
      return;
    }
    LentDocument lent(tape.data + nextWord, strings.data + nextString);
    error_code error = documents->stage1(bytes, text.length, simdjson::stage1_mode::regular);
    if (!error) { error = documents->stage2(lent.document); }
    result.error = error;
    if (error) { return; }
    result.words = lent.words();
    advance(lent, text.length, documents->n_structural_indexes);
  }

  /// Whether the texts may be read as a run: one behind the other, with little between them.
  bool isRun(size_t readable, const csimdjson_text *texts, size_t count) {
    if (fields.isEmpty() || count < 2 || maximumDepth < 2) { return false; }
    if (runsLeftOut > 0) {
      runsLeftOut--;
      return false;
    }
    uint64_t end = texts[0].offset;
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++) {
      if (texts[i].offset < end) { return false; }
      end = texts[i].offset + texts[i].length;
      total += texts[i].length;
    }
    return end - texts[0].offset <= total + total / 2 && readable >= end + padding;
  }

  /// Parses texts of which most are expected to be flat objects. Answers false, having done nothing, where the first stage
  /// finds fault with one of them.
  bool parseRun(const uint8_t *base, size_t readable, const csimdjson_text *texts, size_t count,
                csimdjson_document *results) {
    const uint64_t start = texts[0].offset;
    const size_t length = size_t(texts[count - 1].offset + texts[count - 1].length - start);
    const uint8_t *const text = base + start;
    if (make(runs, length, maximumDepth) || runs->stage1(text, length, simdjson::stage1_mode::regular)) {
      return false;
    }
    flat::Walk walk(text, runs->structural_indexes.get(), runs->n_structural_indexes);
    fields.write(strings.data);
    nextString = fields.byteCount();
    auto findEscape = [&](size_t from) {
      const void *found = std::memchr(text + from, '\\', length - from);
      return found ? size_t(static_cast<const uint8_t *>(found) - text) : length;
    };
    size_t escape = findEscape(0);
    size_t others = 0;
    for (size_t i = 0; i < count; i++) {
      const size_t begin = size_t(texts[i].offset - start);
      const size_t end = begin + size_t(texts[i].length);
      if (escape < begin) { escape = findEscape(begin); }
      walk.skip(begin);
      size_t words = 0;
      if (escape >= end && texts[i].length <= maximumBytes) {
        words = walk.read(begin, end, fields, tape.data + nextWord, strings.data, nextString);
      }
      if (words > 0) {
        // Strings of these count from the arena's beginning, where the names are.
        results[i] = {nextWord, 0, uint32_t(words), simdjson::SUCCESS, 1};
        nextWord += words;
      } else {
        parseOne(base, readable, texts[i], results[i]);
        others++;
      }
    }
    if (others * 2 > count) { runsLeftOut = 64; }
    return true;
  }
};

extern "C" {

const int32_t csimdjson_error_capacity = simdjson::CAPACITY;
const int32_t csimdjson_error_memory = simdjson::MEMALLOC;
const int32_t csimdjson_error_empty = simdjson::EMPTY;
const int32_t csimdjson_error_depth = simdjson::DEPTH_ERROR;
const int32_t csimdjson_error_number = simdjson::NUMBER_ERROR;
const int32_t csimdjson_error_utf8 = simdjson::UTF8_ERROR;

csimdjson_parser *csimdjson_create(size_t maximum_bytes, uint32_t maximum_depth) {
  auto parser = new (std::nothrow) csimdjson_parser();
  if (!parser) { return nullptr; }
  parser->maximumBytes = maximum_bytes < simdjson::SIMDJSON_MAXSIZE_BYTES ? maximum_bytes : simdjson::SIMDJSON_MAXSIZE_BYTES;
  parser->maximumDepth = maximum_depth;
  return parser;
}

void csimdjson_destroy(csimdjson_parser *parser) { delete parser; }

void csimdjson_want(csimdjson_parser *parser, const uint8_t *const *names, const size_t *lengths, size_t count) {
  (void)parser->fields.assign(names, lengths, count);
}

int32_t csimdjson_parse(csimdjson_parser *parser, const uint8_t *base, size_t readable, const csimdjson_text *texts,
                        size_t count, csimdjson_document *documents, csimdjson_output *output) {
  size_t total = 0;
  for (size_t i = 0; i < count; i++) {
    if (texts[i].length <= parser->maximumBytes) { total += texts[i].length; }
  }
  total += 2 * count;
  if (error_code error = make(parser->documents, total, parser->maximumDepth)) { return error; }
  // A document of n bytes has at most n + 3 words ("1" has 4) and 2n + 8 bytes of strings; a failed one leaves nothing.
  if (!parser->tape.reserve(total + 4 * count + 64) ||
      !parser->strings.reserve(2 * total + 16 * count + parser->fields.byteCount() + 256)) {
    return simdjson::MEMALLOC;
  }
  output->tape = parser->tape.data;
  output->strings = parser->strings.data;
  parser->nextWord = 0;
  parser->nextString = 0;
  if (parser->isRun(readable, texts, count) && parser->parseRun(base, readable, texts, count, documents)) {
    return simdjson::SUCCESS;
  }
  for (size_t i = 0; i < count; i++) { parser->parseOne(base, readable, texts[i], documents[i]); }
  return simdjson::SUCCESS;
}

int32_t csimdjson_structurals(csimdjson_parser *parser, const uint8_t *base, size_t readable, csimdjson_text text,
                              const uint32_t **positions, size_t *count) {
  *positions = nullptr;
  *count = 0;
  if (error_code error = make(parser->structurals, text.length, parser->maximumDepth)) { return error; }
  const uint8_t *bytes = parser->withPadding(base, readable, text.offset, text.length);
  if (!bytes) { return simdjson::MEMALLOC; }
  if (error_code error = parser->structurals->stage1(bytes, text.length, simdjson::stage1_mode::regular)) {
    return error;
  }
  *positions = parser->structurals->structural_indexes.get();
  *count = parser->structurals->n_structural_indexes;
  return simdjson::SUCCESS;
}

const char *csimdjson_error_message(int32_t error) {
  switch (error) {
  case simdjson::SUCCESS: return "no error";
  case simdjson::CAPACITY: return "the document is longer than the limit";
  case simdjson::MEMALLOC: return "no memory for the document";
  case simdjson::TAPE_ERROR: return "a value, a comma, a colon or a bracket is missing or in the wrong place";
  case simdjson::DEPTH_ERROR: return "objects and arrays are nested deeper than the limit";
  case simdjson::STRING_ERROR: return "a string holds an invalid escape sequence";
  case simdjson::T_ATOM_ERROR: return "a literal that begins with 't' is not 'true'";
  case simdjson::F_ATOM_ERROR: return "a literal that begins with 'f' is not 'false'";
  case simdjson::N_ATOM_ERROR: return "a literal that begins with 'n' is not 'null'";
  case simdjson::NUMBER_ERROR: return "a number is malformed or does not fit 64 bits";
  case simdjson::UTF8_ERROR: return "the text is not valid UTF-8";
  case simdjson::EMPTY: return "the text is empty";
  case simdjson::UNESCAPED_CHARS: return "a string holds a control character that is not escaped";
  case simdjson::UNCLOSED_STRING: return "a string has no closing quote";
  default: return "the text is not valid JSON";
  }
}

const char *csimdjson_implementation(void) {
  static const std::string name = simdjson::get_active_implementation()->name();
  return name.c_str();
}
}
