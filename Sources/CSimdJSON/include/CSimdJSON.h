// A C interface to simdjson: many small documents in, one tape and one string arena out.
//
// A parser owns the memory it parses into. The tape and the strings of a call stay valid until the next call with the
// same parser. A parser belongs to one thread at a time; different parsers are independent.
#ifndef CSIMDJSON_H
#define CSIMDJSON_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Bytes that simdjson may read (never write) behind a document. Text with fewer readable bytes behind it is copied.
#define CSIMDJSON_PADDING 64

typedef struct csimdjson_parser csimdjson_parser;

/// One text to parse: `length` bytes from `offset` of the memory given to the call.
typedef struct {
  uint64_t offset;
  uint64_t length;
} csimdjson_text;

/// Where the document of one text is, or why there is none.
typedef struct {
  /// Index of the document's first word in the tape. Container end indexes in the tape count from here.
  uint64_t tape;
  /// Offset of the document's first string in the arena. String payloads in the tape count from here.
  uint64_t strings;
  /// The number of tape words of the document.
  uint32_t words;
  /// 0, or a simdjson error code; see `csimdjson_error_message`.
  int32_t error;
  /// 1: the tape has only the wanted fields of the document, which is one object of plain values without escapes and
  /// whose tokens therefore are `{`, four a field (key, colon, value, comma or closing brace).
  uint32_t is_part;
} csimdjson_document;

/// The memory that the documents of a call lie in.
typedef struct {
  const uint64_t *_Nonnull tape;
  const uint8_t *_Nonnull strings;
} csimdjson_output;

/// A parser for documents of at most `maximum_bytes` bytes and `maximum_depth` nested containers. No memory for
/// documents is reserved before the first call. Null if there is no memory.
csimdjson_parser *_Nullable csimdjson_create(size_t maximum_bytes, uint32_t maximum_depth);

void csimdjson_destroy(csimdjson_parser *_Nullable parser);

/// Says that of documents which are objects only these fields will be asked for (`count` names of `lengths` bytes; all
/// distinct). Others may then be missing on the tape; they are checked all the same, and every document is accepted or
/// refused as without. Names that are too many or too long change nothing.
void csimdjson_want(csimdjson_parser *_Nonnull parser, const uint8_t *_Nonnull const *_Nonnull names,
                    const size_t *_Nonnull lengths, size_t count);

/// Parses `count` texts, each of them one document. Where fields were named (`csimdjson_want`), texts that stand one behind the other
/// share one pass of simdjson's first stage as long as it finds no fault in them.
///
/// - `base`: the memory the texts lie in; `readable` bytes of it may be read.
/// - `documents`: room for `count` results, in the order of `texts`.
/// - Returns 0, or the code of an error that concerns the call as a whole (no memory).
int32_t csimdjson_parse(csimdjson_parser *_Nonnull parser, const uint8_t *_Nonnull base, size_t readable,
                        const csimdjson_text *_Nonnull texts, size_t count, csimdjson_document *_Nonnull documents,
                        csimdjson_output *_Nonnull output);

/// The positions of the tokens `{ } [ ] , :` and of the first byte of each string, number and literal of one text, in
/// order, as simdjson's first stage finds them. For finding the source text of a value again. Valid until the next call
/// of this function with this parser; does not disturb the result of `csimdjson_parse`.
int32_t csimdjson_structurals(csimdjson_parser *_Nonnull parser, const uint8_t *_Nonnull base, size_t readable,
                              csimdjson_text text, const uint32_t *_Nullable *_Nonnull positions,
                              size_t *_Nonnull count);

/// A sentence for an error code. Static text.
const char *_Nonnull csimdjson_error_message(int32_t error);

/// The codes that callers treat apart from the others.
extern const int32_t csimdjson_error_capacity;
extern const int32_t csimdjson_error_memory;
extern const int32_t csimdjson_error_empty;
extern const int32_t csimdjson_error_depth;
extern const int32_t csimdjson_error_number;
extern const int32_t csimdjson_error_utf8;

/// The name of the instruction set in use, such as `icelake` or `haswell`.
const char *_Nonnull csimdjson_implementation(void);

#ifdef __cplusplus
}
#endif

#endif
