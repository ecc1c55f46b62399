// A C header over RE2: regular expressions in linear time.
// https://github.com/google/re2 (re2/re2.h)
#ifndef CRE2_H
#define CRE2_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cre2_pattern cre2_pattern;

/// A part of the text that was matched; `start` is -1 for a group that took no part.
typedef struct {
    ptrdiff_t start;
    ptrdiff_t length;
} cre2_group;

/// Compiles a pattern. Never null but when memory is out; ask cre2_error. May be used from several threads at once.
cre2_pattern *cre2_compile(const char *pattern, size_t length, bool ignores_case, bool dot_matches_newline, bool multiline);
void cre2_free(cre2_pattern *pattern);

/// What is wrong with the pattern, or null. Lives as long as the pattern.
const char *cre2_error(const cre2_pattern *pattern);

/// How many capturing groups the pattern has.
int cre2_group_count(const cre2_pattern *pattern);

/// Looks for the pattern from `start` on and fills `groups` (the whole match first). Anchors see the whole text.
bool cre2_match(const cre2_pattern *pattern, const char *text, size_t length, size_t start, cre2_group *groups, int count);

#ifdef __cplusplus
}
#endif

#endif
