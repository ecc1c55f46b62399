// A C interface to the schema compiler of Protocol Buffers: .proto texts, or a set of descriptors, to messages, fields
// and enums by number. Messages themselves are read and written elsewhere.
// https://protobuf.dev/reference/cpp/api-docs/google.protobuf.compiler.importer
#ifndef CPROTOBUF_H
#define CPROTOBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// A compiled schema. Everything that is asked of it lives as long as it does. It belongs to one thread at a time.
typedef struct cprotobuf_schema cprotobuf_schema;

/// A file by the name that it is imported by.
typedef struct {
  const char *_Nonnull name;
  const char *_Nonnull text;
  size_t length;
} cprotobuf_file;

/// A field of a message. `type` is `FieldDescriptorProto.Type`. `message`, `enumeration` and `oneof` are -1 where there
/// is none; a oneof that stands for `optional` is none.
typedef struct {
  const char *_Nonnull name;
  int32_t number;
  int32_t type;
  int32_t message;
  int32_t enumeration;
  int32_t oneof;
  bool is_repeated;
  bool is_map;
  bool is_packed;
  bool has_presence;
} cprotobuf_field;

/// Compiles `files[0]`. Imports are looked up among the other files, then below `folder` (may be null), then among the
/// well-known types. Null only when memory is out; ask `cprotobuf_error`.
cprotobuf_schema *_Nullable cprotobuf_compile(const cprotobuf_file *_Nonnull files, size_t count,
                                              const char *_Nullable folder);

/// Reads a serialised `FileDescriptorSet`, as `protoc --descriptor_set_out --include_imports` writes it.
cprotobuf_schema *_Nullable cprotobuf_read(const uint8_t *_Nonnull bytes, size_t length);

void cprotobuf_free(cprotobuf_schema *_Nullable schema);

/// What is wrong with the schema, with file and line; null where nothing is.
const char *_Nullable cprotobuf_error(const cprotobuf_schema *_Nonnull schema);

/// The number of a message by its full name; -1 where there is none.
int32_t cprotobuf_find_message(cprotobuf_schema *_Nonnull schema, const char *_Nonnull name);

/// The number of a message of the main file by its place: among the file's messages, then among those nested in it …
/// -1 where there is none.
int32_t cprotobuf_message_at(cprotobuf_schema *_Nonnull schema, const int32_t *_Nonnull path, size_t count);

/// The place of a message that `cprotobuf_find_message` gave, innermost last; writes at most `capacity` numbers and
/// answers how many there are. 0 where the message is not of the main file.
size_t cprotobuf_message_path(cprotobuf_schema *_Nonnull schema, int32_t message, int32_t *_Nonnull path, size_t capacity);

/// Full names of the main file's messages, each behind a comma.
const char *_Nonnull cprotobuf_message_names(cprotobuf_schema *_Nonnull schema);

const char *_Nonnull cprotobuf_message_name(const cprotobuf_schema *_Nonnull schema, int32_t message);
int32_t cprotobuf_field_count(const cprotobuf_schema *_Nonnull schema, int32_t message);
cprotobuf_field cprotobuf_field_at(cprotobuf_schema *_Nonnull schema, int32_t message, int32_t index);
int32_t cprotobuf_symbol_count(const cprotobuf_schema *_Nonnull schema, int32_t enumeration);
const char *_Nonnull cprotobuf_symbol(const cprotobuf_schema *_Nonnull schema, int32_t enumeration, int32_t index,
                                      int32_t *_Nonnull number);

#ifdef __cplusplus
}
#endif

#endif
