#include "CRE2.h"

#include <re2/re2.h>

#include <new>

struct cre2_pattern {
    re2::RE2 expression;

    cre2_pattern(const re2::StringPiece &pattern, const re2::RE2::Options &options) : expression(pattern, options) {}
};

extern "C" cre2_pattern *cre2_compile(
    const char *pattern, size_t length, bool ignores_case, bool dot_matches_newline, bool multiline) {
    re2::RE2::Options options;
    options.set_log_errors(false);
    options.set_case_sensitive(!ignores_case);
    options.set_dot_nl(dot_matches_newline);
    // One-line mode is RE2's default with Perl syntax; (?m) in front turns it off.
    const std::string text(pattern, length);
    return new (std::nothrow) cre2_pattern(multiline ? "(?m)" + text : text, options);
}

extern "C" void cre2_free(cre2_pattern *pattern) { delete pattern; }

extern "C" const char *cre2_error(const cre2_pattern *pattern) {
    return pattern->expression.ok() ? nullptr : pattern->expression.error().c_str();
}

extern "C" int cre2_group_count(const cre2_pattern *pattern) { return pattern->expression.NumberOfCapturingGroups(); }

extern "C" bool cre2_match(
    const cre2_pattern *pattern, const char *text, size_t length, size_t start, cre2_group *groups, int count) {
    constexpr int limit = 32;
    re2::StringPiece found[limit];
    if (count > limit) count = limit;
    const re2::StringPiece whole(text, length);
    if (!pattern->expression.Match(whole, start, length, re2::RE2::UNANCHORED, found, count)) return false;
    for (int i = 0; i < count; i++) {
        groups[i].start = found[i].data() == nullptr ? -1 : found[i].data() - text;
        groups[i].length = static_cast<ptrdiff_t>(found[i].size());
    }
    return true;
}
