#include "CProtobuf.h"

#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <google/protobuf/any.pb.h>
#include <google/protobuf/compiler/importer.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/descriptor_database.h>
#include <google/protobuf/duration.pb.h>
#include <google/protobuf/empty.pb.h>
#include <google/protobuf/field_mask.pb.h>
#include <google/protobuf/io/zero_copy_stream_impl.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/timestamp.pb.h>
#include <google/protobuf/wrappers.pb.h>

namespace pb = google::protobuf;

namespace {

// Texts in memory, then files below a folder.
class Files final : public pb::compiler::SourceTree {
 public:
  std::map<std::string, std::string> texts;
  std::string folder;
  bool has_folder = false;

  pb::io::ZeroCopyInputStream *Open(const std::string &name) override {
    auto found = texts.find(name);
    if (found != texts.end()) {
      return new pb::io::ArrayInputStream(found->second.data(), static_cast<int>(found->second.size()));
    }
    if (has_folder && !name.empty() && name[0] != '/' && name.find("..") == std::string::npos) {
      std::ifstream file(folder + "/" + name, std::ios::binary);
      if (file) {
        std::ostringstream text;
        text << file.rdbuf();
        auto &kept = texts[name] = text.str();
        return new pb::io::ArrayInputStream(kept.data(), static_cast<int>(kept.size()));
      }
    }
    error = "there is no such file";
    return nullptr;
  }

  std::string GetLastErrorMessage() override { return error; }

 private:
  std::string error;
};

class Errors final : public pb::compiler::MultiFileErrorCollector, public pb::DescriptorPool::ErrorCollector {
 public:
  std::string text;

  void AddError(const std::string &file, int line, int column, const std::string &message) override {
    add(file + (line < 0 ? "" : ":" + std::to_string(line + 1) + ":" + std::to_string(column + 1)) + ": " + message);
  }

  void AddError(const std::string &file, const std::string &element, const pb::Message *, ErrorLocation,
                const std::string &message) override {
    add(file + ": " + element + ": " + message);
  }

 private:
  void add(const std::string &line) {
    if (text.size() < 2000) text += (text.empty() ? "" : "; ") + line;
  }
};

// The well-known types are linked in by being named.
void link_well_known_types() {
  pb::Any::descriptor();
  pb::Duration::descriptor();
  pb::Empty::descriptor();
  pb::FieldMask::descriptor();
  pb::Struct::descriptor();
  pb::Timestamp::descriptor();
  pb::Int64Value::descriptor();
}

}  // namespace

struct cprotobuf_schema {
  Files files;
  Errors errors;
  std::string error;
  std::unique_ptr<pb::DescriptorPoolDatabase> known;
  std::unique_ptr<pb::SimpleDescriptorDatabase> given;
  std::unique_ptr<pb::DescriptorDatabase> database;
  std::unique_ptr<pb::DescriptorPool> pool;
  const pb::FileDescriptor *main = nullptr;
  std::string names;
  std::vector<const pb::Descriptor *> messages;
  std::vector<const pb::EnumDescriptor *> enums;

  cprotobuf_schema() {
    link_well_known_types();
    known = std::make_unique<pb::DescriptorPoolDatabase>(*pb::DescriptorPool::generated_pool());
  }

  template <typename T>
  static int32_t number(std::vector<const T *> &list, const T *item) {
    if (item == nullptr) return -1;
    for (size_t i = 0; i < list.size(); i++) {
      if (list[i] == item) return static_cast<int32_t>(i);
    }
    list.push_back(item);
    return static_cast<int32_t>(list.size() - 1);
  }

  void finish(const std::string &name) {
    main = pool->FindFileByName(name);
    if (main == nullptr) {
      error = errors.text.empty() ? "the schema cannot be read" : errors.text;
      return;
    }
    gather(main);
  }

  void gather(const pb::FileDescriptor *file) {
    for (int i = 0; i < file->message_type_count(); i++) {
      names += (names.empty() ? "" : ", ") + file->message_type(i)->full_name();
    }
  }
};

cprotobuf_schema *cprotobuf_compile(const cprotobuf_file *files, size_t count, const char *folder) {
  try {
    auto schema = std::make_unique<cprotobuf_schema>();
    for (size_t i = 0; i < count; i++) schema->files.texts[files[i].name] = std::string(files[i].text, files[i].length);
    if (folder != nullptr) {
      schema->files.folder = folder;
      schema->files.has_folder = true;
    }
    auto source = std::make_unique<pb::compiler::SourceTreeDescriptorDatabase>(&schema->files, schema->known.get());
    source->RecordErrorsTo(&schema->errors);
    auto *collector = source->GetValidationErrorCollector();
    schema->database = std::move(source);
    schema->pool = std::make_unique<pb::DescriptorPool>(schema->database.get(), collector);
    schema->pool->EnforceWeakDependencies(true);
    schema->finish(files[0].name);
    return schema.release();
  } catch (const std::bad_alloc &) {
    return nullptr;
  }
}

cprotobuf_schema *cprotobuf_read(const uint8_t *bytes, size_t length) {
  try {
    auto schema = std::make_unique<cprotobuf_schema>();
    pb::FileDescriptorSet set;
    if (!set.ParseFromArray(bytes, static_cast<int>(length)) || set.file_size() == 0) {
      schema->error = "it is no set of descriptors";
      return schema.release();
    }
    schema->given = std::make_unique<pb::SimpleDescriptorDatabase>();
    for (const auto &file : set.file()) schema->given->Add(file);
    schema->database = std::make_unique<pb::MergedDescriptorDatabase>(schema->given.get(), schema->known.get());
    schema->pool = std::make_unique<pb::DescriptorPool>(schema->database.get(), &schema->errors);
    // What is imported stands in front.
    schema->finish(set.file(set.file_size() - 1).name());
    return schema.release();
  } catch (const std::bad_alloc &) {
    return nullptr;
  }
}

void cprotobuf_free(cprotobuf_schema *schema) { delete schema; }

const char *cprotobuf_error(const cprotobuf_schema *schema) {
  return schema->error.empty() ? nullptr : schema->error.c_str();
}

int32_t cprotobuf_find_message(cprotobuf_schema *schema, const char *name) {
  if (!schema->pool) return -1;
  return schema->number(schema->messages, schema->pool->FindMessageTypeByName(name));
}

int32_t cprotobuf_message_at(cprotobuf_schema *schema, const int32_t *path, size_t count) {
  if (schema->main == nullptr || count == 0) return -1;
  if (path[0] < 0 || path[0] >= schema->main->message_type_count()) return -1;
  const pb::Descriptor *message = schema->main->message_type(path[0]);
  for (size_t i = 1; i < count; i++) {
    if (path[i] < 0 || path[i] >= message->nested_type_count()) return -1;
    message = message->nested_type(path[i]);
  }
  return schema->number(schema->messages, message);
}

size_t cprotobuf_message_path(cprotobuf_schema *schema, int32_t number, int32_t *path, size_t capacity) {
  std::vector<int32_t> reversed;
  const pb::Descriptor *message = schema->messages[number];
  if (message->file() != schema->main) return 0;
  for (; message != nullptr; message = message->containing_type()) reversed.push_back(message->index());
  for (size_t i = 0; i < reversed.size() && i < capacity; i++) path[i] = reversed[reversed.size() - 1 - i];
  return reversed.size();
}

const char *cprotobuf_message_names(cprotobuf_schema *schema) { return schema->names.c_str(); }

const char *cprotobuf_message_name(const cprotobuf_schema *schema, int32_t message) {
  return schema->messages[message]->full_name().c_str();
}

int32_t cprotobuf_field_count(const cprotobuf_schema *schema, int32_t message) {
  return schema->messages[message]->field_count();
}

cprotobuf_field cprotobuf_field_at(cprotobuf_schema *schema, int32_t message, int32_t index) {
  const pb::FieldDescriptor *field = schema->messages[message]->field(index);
  cprotobuf_field result;
  result.name = field->name().c_str();
  result.number = field->number();
  result.type = field->type();
  result.message = schema->number(schema->messages, field->message_type());
  result.enumeration = schema->number(schema->enums, field->enum_type());
  result.oneof = field->real_containing_oneof() == nullptr ? -1 : field->real_containing_oneof()->index();
  result.is_repeated = field->is_repeated();
  result.is_map = field->is_map();
  result.is_packed = field->is_packed();
  result.has_presence = field->has_presence();
  return result;
}

int32_t cprotobuf_symbol_count(const cprotobuf_schema *schema, int32_t enumeration) {
  return schema->enums[enumeration]->value_count();
}

const char *cprotobuf_symbol(const cprotobuf_schema *schema, int32_t enumeration, int32_t index, int32_t *number) {
  const pb::EnumValueDescriptor *value = schema->enums[enumeration]->value(index);
  *number = value->number();
  return value->name().c_str();
}
