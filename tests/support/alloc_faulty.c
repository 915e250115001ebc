#include "tests/support/alloc_faulty.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);

/* The one place with static state: an allocator has no argument to carry it. */
static _Atomic uint64_t countdown; /* 0: not armed */
static atomic_bool fired;

void
alloc_faulty_arm(uint64_t k)
{
    atomic_store(&fired, false);
    atomic_store(&countdown, k);
}

bool
alloc_faulty_disarm(void)
{
    atomic_store(&countdown, 0);
    return atomic_load(&fired);
}

static bool
fails(void)
{
    uint64_t left = atomic_load(&countdown);

    while (left > 0 && !atomic_compare_exchange_weak(&countdown, &left, left - 1))
        continue;
    if (left != 1)
        return false;
    atomic_store(&fired, true);
    errno = ENOMEM;
    return true;
}

void *
__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *
__wrap_realloc(void *old, size_t size)
{
    return fails() ? NULL : __real_realloc(old, size);
}

void *
__wrap_reallocarray(void *old, size_t count, size_t size)
{
    size_t total;

    if (__builtin_mul_overflow(count, size, &total) || fails())
        return NULL;
    return __real_realloc(old, total);
}

char *
__wrap_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = fails() ? NULL : __real_malloc(size);

    return copy == NULL ? NULL : memcpy(copy, text, size);
}
