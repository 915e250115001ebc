/*
 * alloc_faulty.h - let the k-th allocation of the program fail.
 *
 * For programs linked with -Wl,--wrap= for malloc, calloc and realloc (and reallocarray and strdup,
 * where the linker is told): calls from our own object files end up here. Allocations inside shared
 * libraries are not seen. Thread-safe.
 */
#ifndef PITR_TESTS_SUPPORT_ALLOC_FAULTY_H
#define PITR_TESTS_SUPPORT_ALLOC_FAULTY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The k-th allocation from now on fails, once; 0: none. */
void alloc_faulty_arm(uint64_t k);
/* Stop, and say whether one failed. */
bool alloc_faulty_disarm(void);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);
char *__wrap_strdup(const char *text);

#endif
