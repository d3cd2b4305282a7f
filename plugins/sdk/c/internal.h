/* What the sources of the SDK share. A plugin includes tidegate_plugin.h alone. */
#ifndef TIDEGATE_INTERNAL_H
#define TIDEGATE_INTERNAL_H

#include "tidegate_plugin.h"

/* Makes room for one more entry in a list with the members `count` and `room`, and evaluates to its place. */
#define TG_MORE(list, entries) \
    ((list)->count == (list)->room \
         ? (void)((list)->entries = tg_grown((list)->entries, sizeof *(list)->entries, &(list)->room, (list)->count)) \
         : (void)0, \
     &(list)->entries[(list)->count++])
void *tg_grown(const void *old, size_t size, size_t *room, size_t count);

/* The text itself where it is UTF-8, else a copy with a question mark for each wrong byte: the host takes no other. */
tg_text tg_clean(const char *text);
bool tg_is_utf8(const uint8_t *bytes, size_t size);
/* The length of the character at the front, 0 where there is none. */
size_t tg_utf8_length(const uint8_t *bytes, size_t size);
size_t tg_utf8_write(char *out, uint32_t character);
bool tg_name_is(tg_text name, const char *other);

/* Text of a double, shortest, or with so many digits after the point. `out` takes 400 bytes. */
size_t tg_double_text(char *out, double number);
size_t tg_fixed_text(char *out, double number, int digits);
/* digits x 10^exponent; `digits` are decimal and at most 61. */
double tg_double_of(const char *digits, size_t count, int exponent);

/* Reads JSON into BSON. NULL, or what is wrong. */
const char *tg_json(tg_text json, tg_doc *document);

void tg_append_text(tg_builder *builder, tg_text name, tg_value value);

#endif
