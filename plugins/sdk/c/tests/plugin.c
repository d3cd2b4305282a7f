/* Every check that fails becomes a violation, with its line. */
#include "tidegate_plugin.h"

static tg_verdict failures;
static char *config_failure;

static bool same(const char *left, const char *right) {
    return left && right && strcmp(left, right) == 0;
}

static void check(bool good, int line, const char *what) {
    if (!good) tg_violate(&failures, tg_format("line %d", line), "%s", what);
}

#define CHECK(condition) check(condition, __LINE__, #condition)
#define TEXT(expression, expected) \
    do { \
        const char *got = (expression); \
        if (!same(got, expected)) tg_violate(&failures, tg_format("line %d", __LINE__), "%s, not %s", got, expected); \
    } while (0)

static void formats(void) {
    TEXT(tg_format("%d|%5d|%-5d|%05d|%+d|%u|%x", -7, 42, 42, -42, 7, 4000000000u, 255), "-7|   42|42   |-0042|+7|4000000000|ff");
    TEXT(tg_format("%lld %llu %zu", -9223372036854775807LL - 1, 18446744073709551615ULL, (size_t)9), "-9223372036854775808 18446744073709551615 9");
    TEXT(tg_format("%s|%5s|%-5s|%.2s|%c|%%|%*d", "abc", "ab", "ab", "abc", 'x', 4, 7), "abc|   ab|ab   |ab|x|%|   7");
    TEXT(tg_format("%g %g %g %g %g", 0.1, 1e21, 5e-324, -1.5, 0.0), tg_format("0.1 1000000000000000000000 0.%0323d5 -1.5 0", 0));
    TEXT(tg_format("%g %g", 1.7976931348623157e308 * 10, -(1.7976931348623157e308 * 10)), "inf -inf");
    TEXT(tg_format("%.2f %.0f %f %.1f %.3f", 2.675, 2.5, 1.0 / 3, 0.25, 1e22), "2.67 2 0.333333 0.2 10000000000000000000000.000");
    TEXT(tg_format("%g %g %g", 123456789.125, 9007199254740993.0, 2.2250738585072014e-308 * 1e300), "123456789.125 9007199254740992 0.000000022250738585072015");
    TEXT(tg_quoted(tg_text_of("a\"\\\n\x01\x7f")), "\"a\\\"\\\\\\n\\u{1}\\u{7f}\"");
    TEXT(tg_quoted(tg_text_of("0123456789012345678901234567890123456789x")), "\"0123456789012345678901234567890123456789\"...");
}

static void dates(void) {
    int64_t date = 0;
    CHECK(tg_parse_date(tg_text_of("2024-01-31T09:30:00.250Z"), &date) && date == 1706693400250);
    TEXT(tg_date_text(date), "2024-01-31T09:30:00.250Z");
    TEXT(tg_date_text(-1), "1969-12-31T23:59:59.999Z");
    TEXT(tg_date_text(951782400000), "2000-02-29T00:00:00.000Z");
    CHECK(tg_parse_date(tg_text_of("0000-01-01"), &date));
    TEXT(tg_date_text(date), "0000-01-01T00:00:00.000Z");
    CHECK(tg_parse_date(tg_text_of("2016-12-31 23:59:60,5+01"), &date));
    TEXT(tg_date_text(date), "2016-12-31T23:00:00.500Z");
    static const char *const wrong[] = {"", "2024", "2023-02-29", "2024-01-31T24:00Z", "2024-01-31T09:30:60Z", "2024-01-31T09:30:00.Z",
                                        "2024-01-31T09:30:00+1", "2024-01-31Z", "2024-1-31"};
    for (size_t at = 0; at < sizeof wrong / sizeof *wrong; at++)
        if (tg_parse_date(tg_text_of(wrong[at]), &date)) tg_violate(&failures, "date", "%s was taken", wrong[at]);
}

static void reading(tg_doc document) {
    int64_t number = 0;
    double real = 0;
    CHECK(tg_equal(tg_get(document, "text").text, "lamp"));
    CHECK(tg_to_integer(tg_get(document, "whole"), &number) && number == 5);
    CHECK(!tg_to_integer(tg_get(document, "beyond"), &number));
    CHECK(tg_to_integer(tg_get(document, "long"), &number) && number == INT64_MAX);
    CHECK(tg_to_double(tg_get(document, "whole"), &real) && real == 5);
    CHECK(tg_get(document, "nothing").type == TG_ABSENT && tg_get((tg_doc){0}, "x").type == TG_ABSENT);
    CHECK(tg_equal(tg_get_path(document, "nested.list.1.deep").text, "yes"));
    CHECK(tg_get_path(document, "nested.list.2").type == TG_ABSENT && tg_get_path(document, "text.x").type == TG_ABSENT);
    TEXT(tg_to_text(tg_get(document, "id")), "0123456789abcdef01234567");
    TEXT(tg_type_name(tg_get(document, "price").type), "decimal");
    TEXT(tg_found_name(tg_get(document, "whole")), "int");
    size_t count = 0;
    tg_iter fields = tg_fields(document);
    while (tg_next(&fields)) count++;
    CHECK(count == 9 && !fields.error.what);
    /* No cut and no changed byte makes the reader go outside of the document: at worst it says what is wrong. */
    for (size_t size = 0; size < document.size; size++) {
        fields = tg_fields((tg_doc){document.data, size});
        while (tg_next(&fields)) {}
        CHECK(fields.error.what != NULL);
    }
    uint8_t *copy = tg_alloc(document.size);
    for (size_t at = 0; at < document.size; at++) {
        memcpy(copy, document.data, document.size);
        copy[at] ^= 0xff;
        fields = tg_fields((tg_doc){copy, document.size});
        while (tg_next(&fields)) {}
    }
}

static const char *names(tg_doc document) {
    const char *list = "";
    tg_iter fields = tg_fields(document);
    while (tg_next(&fields)) list = tg_format("%s %.*s", list, TG_ARG(fields.name));
    return fields.error.what ? fields.error.what : list;
}

static void writing(tg_doc document) {
    tg_builder list = tg_build();
    for (size_t at = 0; at < 12; at++) tg_push(&list, at, tg_int32((int32_t)at));
    tg_builder build = tg_build();
    tg_append(&build, "list", tg_array(tg_built(&list)));
    tg_append(&build, "price", tg_get(document, "price"));
    tg_append(&build, "none", tg_get(document, "nothing"));
    tg_append(&build, "date", tg_date(7));
    tg_append(&build, "text", tg_string("a\xff"));
    tg_doc built = tg_built(&build);
    TEXT(names(built), " list price date text");
    CHECK(tg_get_path(built, "list.11").integer == 11 && tg_get(built, "date").date == 7);
    CHECK(tg_equal(tg_get(built, "text").text, "a?"));
    tg_append(&build, "more", tg_bool(true));
    TEXT(names(tg_built(&build)), " list price date text more");
    TEXT(names(built), " list price date text");

    tg_editor edit = tg_edit(document);
    tg_remove(&edit, "gone");
    tg_replace(&edit, "text", "name", tg_string("desk"));
    tg_set(&edit, "text", tg_int64(1));
    tg_set(&edit, "whole", tg_null());
    tg_set(&edit, "added", tg_double(0.5));
    CHECK(tg_equal(tg_edited(&edit, "name").text, "desk") && tg_edited(&edit, "gone").type == TG_ABSENT);
    CHECK(tg_edited(&edit, "long").integer == INT64_MAX);
    tg_error error;
    tg_doc edited = tg_finish(&edit, &error);
    TEXT(names(edited), " _id name whole beyond long nested price id text added");
    CHECK(tg_get(edited, "whole").type == TG_NULL && tg_get(edited, "text").integer == 1);
    tg_editor broken = tg_edit((tg_doc){document.data, document.size - 1});
    CHECK(!tg_finish(&broken, &error).data && error.what);
}

static void memory(void) {
    /* As much as many batches take, in blocks that fit nowhere well; nothing may overlap. */
    uint8_t *before = NULL;
    size_t before_size = 0;
    for (size_t size = 1; size < 300000; size = size * 3 + 1) {
        uint8_t *block = tg_alloc(size), *kept = tg_keep(24);
        memset(block, 0xaa, size);
        memset(kept, 0x55, 24);
        CHECK(((uintptr_t)block & 7) == 0 && block[size - 1] == 0xaa && kept[23] == 0x55);
        if (before) CHECK(before[0] == 0xaa && before[before_size - 1] == 0xaa);
        before = block, before_size = size;
    }
}

static void granted(void) {
    TEXT(tg_date_text(tg_now()), "2026-01-31T12:00:00.250Z");
    const uint8_t *one = tg_random(16), *other = tg_random(16);
    CHECK(memcmp(one, other, 16) != 0 && tg_random_number() != tg_random_number());
    CHECK(tg_equal(tg_environment("REGION"), "eu-west") && !tg_environment("HOME").data);
    tg_text empty = tg_environment("EMPTY");
    CHECK(empty.data && empty.size == 0);

    tg_http_request request = {.method = "POST", .url = "https://api.example.com/items", .body = tg_text_of("{}"), .timeout = 500};
    tg_add_pair(&request.headers, "accept", "a\xff");
    tg_http_response response = tg_http(request);
    CHECK(response.failure == TG_HTTP_ANSWERED && response.status == 201 && tg_equal(response.body, "made"));
    CHECK(tg_equal(tg_http_header(&response, "x-PAGE"), "1") && tg_equal(tg_http_header(&response, "x-more"), "2"));
    CHECK(!tg_http_header(&response, "x-pag").data && !tg_http_header(&response, "").data && response.header_count == 2);
    response = tg_http((tg_http_request){.method = "GET", .url = "https://down.example.com/"});
    TEXT(tg_http_failure_name(response.failure), "unreachable");
    CHECK(tg_equal(response.why, "nobody answers GET https://down.example.com/: so it is written"));
    response = tg_http((tg_http_request){.method = "GET", .url = "https://api.example.com/items"});
    CHECK(response.failure == TG_HTTP_NOT_GRANTED && response.why.size > 0 && !response.header_count && !response.status);
}

static const char *configure(tg_doc config) {
    int64_t number = 0;
    tg_value part = tg_get(config, "part"), exponent = tg_get(config, "exponent"), big = tg_get(config, "big");
    bool good = tg_get(config, "whole").type == TG_INT32 && tg_get(config, "long").type == TG_INT64 &&
                tg_to_integer(tg_get(config, "long"), &number) && number == 5000000000 && big.type == TG_DOUBLE &&
                big.number == 18446744073709551616.0 && part.number == 0.1 && exponent.number == -1.5e-7 &&
                tg_equal(tg_get(config, "text").text, "é\n😀") && tg_get_path(config, "list.1.1").type == TG_NULL &&
                tg_equal(tg_get_path(config, "list.2.a").text, "b");
    static const char *const two[] = {"a", "b"};
    good = good && same(tg_only_fields(config, two, 2), "unknown field `whole`, expected `a` or `b`");
    if (!good) config_failure = tg_keep_text(tg_text_of("the configuration was not read as it was written"));
    return NULL;
}

static tg_verdict validate(const tg_change *change) {
    failures = tg_accept();
    if (config_failure) tg_violate(&failures, "", "%s", config_failure);
    CHECK(tg_equal(tg_header(change, "colour"), "blue") && !tg_header(change, "none").data);
    CHECK(tg_equal(change->database, "shop") && tg_equal(change->collection, "items") && change->operation == TG_INSERT);
    CHECK(tg_get(change->key, "_id").integer == 1);
    formats();
    dates();
    reading(change->document);
    writing(change->document);
    memory();
    granted();
    tg_log(TG_INFO, "%zu checks failed", failures.count);
    tg_count("checks", 1);
    tg_gauge("failed", (double)failures.count);
    return failures;
}

TG_PLUGIN(.name = "sdk-tests", .version = "0.1.0", .description = "Tests of the C SDK", .configure = configure,
          .config_schema = "{\"type\": \"object\"}")
TG_VALIDATOR(validate)
