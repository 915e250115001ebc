#include "cli/suggest.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

/* Longer words are no typing errors of anything known. */
enum { WORD_MAX = 48 };

static size_t
smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Levenshtein distance; both words are at most WORD_MAX long. */
static size_t
distance(const char *a, const char *b)
{
    size_t row[WORD_MAX + 1], len = strlen(b);

    for (size_t j = 0; j <= len; j++)
        row[j] = j;
    for (size_t i = 0; a[i] != '\0'; i++) {
        size_t diagonal = row[0];

        row[0] = i + 1;
        for (size_t j = 1; j <= len; j++) {
            size_t change = diagonal + (a[i] == b[j - 1] ? 0 : 1);

            diagonal = row[j];
            row[j] = smaller(change, smaller(row[j], row[j - 1]) + 1);
        }
    }
    return row[len];
}

const char *
suggest_nearest(const char *word, const char *const *known, size_t n)
{
    const char *best = NULL;
    size_t len = strlen(word), best_distance = SIZE_MAX;

    if (len > WORD_MAX)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        size_t d;

        if (strlen(known[i]) > WORD_MAX)
            continue;
        d = len > 2 && strncasecmp(known[i], word, len) == 0 ? 1 : distance(word, known[i]);
        if (d < best_distance) {
            best_distance = d;
            best = known[i];
        }
    }
    return best_distance <= len / 2 + 1 ? best : NULL;
}
