/* Memory: an arena for the batch, and blocks that stay. Both take pages from the end of the linear memory. */
#include "tidegate_plugin.h"

#define PAGE 65536u

extern uint8_t __heap_base;

/* A stretch of memory, filled from its beginning. */
typedef struct chunk {
    struct chunk *next;
    size_t size, used;
} __attribute__((aligned(16))) chunk;

/* The chunks of the arena: mostly one, for it grows at the end of the memory unless something was kept there. */
static chunk *first, *last, *current;
static uint8_t *kept, *kept_end;
static uintptr_t free_from;

/* So many bytes nobody has, at the end of the memory. */
static uint8_t *fresh(size_t size) {
    if (free_from == 0) free_from = ((uintptr_t)&__heap_base + 15) & ~(uintptr_t)15;
    uint64_t end = (uint64_t)free_from + size;
    uint64_t have = (uint64_t)__builtin_wasm_memory_size(0) * PAGE;
    if (end > have) {
        uint64_t pages = (end - have + PAGE - 1) / PAGE;
        if (end > UINT32_MAX - 16 || __builtin_wasm_memory_grow(0, (size_t)pages) == (size_t)-1) __builtin_trap();
    }
    uint8_t *block = (uint8_t *)free_from;
    free_from = ((uintptr_t)end + 15) & ~(uintptr_t)15;
    return block;
}

static uintptr_t end_of(const chunk *it) {
    return (uintptr_t)(it + 1) + it->size;
}

/* Room for so many bytes in the last chunk. */
static void more(size_t size) {
    if (last && end_of(last) == free_from) {
        size_t lacks = size - (last->size - last->used);
        size_t taken = (lacks + PAGE - 1) / PAGE * PAGE;
        fresh(taken);
        last->size += taken;
    } else {
        size_t room = (size + PAGE - 1) / PAGE * PAGE;
        chunk *made = (chunk *)fresh(sizeof *made + room);
        *made = (chunk){.size = room};
        if (last) last->next = made;
        else first = made;
        last = made;
    }
    current = last;
}

void *tg_alloc(size_t size) {
    if (size > UINT32_MAX - 2 * PAGE) __builtin_trap();
    size = (size + 7) & ~(size_t)7;
    while (!current || current->size - current->used < size) {
        if (current && current->next) current = current->next;
        else more(size);
    }
    uint8_t *block = (uint8_t *)(current + 1) + current->used;
    current->used += size;
    return block;
}

void *tg_keep(size_t size) {
    if (size > UINT32_MAX - 2 * PAGE) __builtin_trap();
    size = (size + 7) & ~(size_t)7;
    if ((size_t)(kept_end - kept) < size) {
        size_t room = size > 4096 ? size : 4096;
        kept = fresh(room);
        kept_end = kept + room;
    }
    uint8_t *block = kept;
    kept += size;
    return block;
}

void tg_batch_done(void) {
    for (chunk *it = first; it; it = it->next) {
        it->used = 0;
        /* What lies side by side is one chunk from now on: the next batch may have one large document. */
        for (chunk *next = it->next; next && end_of(it) == (uintptr_t)next; next = it->next) {
            it->size += sizeof *next + next->size;
            it->next = next->next;
        }
        last = it;
    }
    current = first;
}

/* The host asks here for the room of a batch before it calls. `align` is never more than 8. */
__attribute__((export_name("cabi_realloc"))) void *tg_realloc(void *old, size_t old_size, size_t align, size_t size) {
    (void)align;
    if (size <= old_size) return old ? old : (void *)8;
    void *block = tg_alloc(size);
    if (old_size) memcpy(block, old, old_size);
    return block;
}

/* The compiler makes calls of these out of plain C, and must not make these loops into calls of themselves. */
#define PLAIN __attribute__((no_builtin))

PLAIN void *memcpy(void *restrict to, const void *restrict from, size_t size) {
    uint8_t *out = to;
    const uint8_t *in = from;
    for (; size >= 8; size -= 8, out += 8, in += 8) {
        typedef struct { uint64_t it; } __attribute__((packed, may_alias)) word;
        ((word *)out)->it = ((const word *)in)->it;
    }
    while (size--) *out++ = *in++;
    return to;
}

PLAIN void *memmove(void *to, const void *from, size_t size) {
    uint8_t *out = to;
    const uint8_t *in = from;
    if (out < in) {
        while (size--) *out++ = *in++;
    } else {
        while (size--) out[size] = in[size];
    }
    return to;
}

PLAIN void *memset(void *to, int byte, size_t size) {
    uint8_t *out = to;
    while (size--) *out++ = (uint8_t)byte;
    return to;
}

PLAIN int memcmp(const void *left, const void *right, size_t size) {
    const uint8_t *a = left, *b = right;
    for (; size; size--, a++, b++)
        if (*a != *b) return *a < *b ? -1 : 1;
    return 0;
}

PLAIN size_t strlen(const char *text) {
    size_t size = 0;
    while (text[size]) size++;
    return size;
}

PLAIN int strcmp(const char *left, const char *right) {
    while (*left && *left == *right) left++, right++;
    return (uint8_t)*left < (uint8_t)*right ? -1 : (uint8_t)*left > (uint8_t)*right;
}
