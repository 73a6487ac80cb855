/* Boehm GC: GC_register_finalizer. See ../README.md. */
#include <gc/gc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *kind;
static long n, calls;
static void **keep;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e9 + time.tv_nsec;
}

static void tick(void *object, void *data) {
    (void)object;
    (void)data;
    calls++;
}

static int registers(void) { return strcmp(kind, "none") != 0; }

static void print(const char *name, double nanoseconds) {
    static int any;
    if (!name) {
        puts("}");
        fflush(stdout);
        any = 0;
        return;
    }
    printf("%s\"%s\":%.2f", any ? "," : "{", name, nanoseconds);
    any = 1;
}

/* Not inlined, so that no pointer stays in a register or on the stack. */
__attribute__((noinline)) static void allocate(void) {
    for (long i = 0; i < n; i++) keep[i] = GC_MALLOC_ATOMIC(32);
}

__attribute__((noinline)) static void set(void *object, GC_finalization_proc finalizer) {
    GC_register_finalizer(object, finalizer, 0, 0, 0);
}

__attribute__((noinline)) static void clear_stack(void) {
    volatile char bytes[8192];
    memset((void *)bytes, 0, sizeof bytes);
}

static double collect(void) {
    clear_stack();
    double begun = now();
    GC_enable();
    GC_gcollect();
    GC_disable();
    return now() - begun;
}

/* Puts addresses into a random order, the same each time. */
static void shuffle(void **values) {
    unsigned long state = 88172645463325252ul;
    for (long last = n - 1; last > 0; last--) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        long other = (state >> 32) % (last + 1);
        void *value = values[last];
        values[last] = values[other];
        values[other] = value;
    }
}

/* Bytes of the process that are in memory. */
static double resident(void) {
    double size, pages;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%lf %lf", &size, &pages) != 2) abort();
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

static void cycle(int dead) {
    double begun = now();
    allocate();
    print("alloc", (now() - begun) / n);
    if (registers()) {
        begun = now();
        for (long i = 0; i < n; i++) set(keep[i], tick);
        print("register", (now() - begun) / n);
    }
    collect();
    print("live", collect() / n);
    unsigned long state = 88172645463325252ul;
    for (long i = 0; i < n; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        if ((int)((state >> 32) % 100) < dead) keep[i] = 0;
    }
    print("discover", collect() / n);
    if (registers()) {
        begun = now();
        GC_invoke_finalizers();
        print("drain", (now() - begun) / n);
    }
    print("free", collect() / n);
    memset(keep, 0, n * sizeof *keep);
    collect();
    GC_invoke_finalizers();
    collect();
}

/* Both in a random order if so said. */
static void cancel(int random) {
    allocate();
    if (random) shuffle(keep);
    double begun = now();
    for (long i = 0; i < n; i++) set(keep[i], tick);
    print("register", (now() - begun) / n);
    if (random) shuffle(keep);
    begun = now();
    for (long i = 0; i < n; i++) set(keep[i], 0);
    print("cancel", (now() - begun) / n);
    memset(keep, 0, n * sizeof *keep);
    collect();
}

static void memory(void) {
    allocate();
    collect();
    double small = resident();
    for (long i = 0; i < n; i++) set(keep[i], tick);
    print("memory", (resident() - small) / n);
    memset(keep, 0, n * sizeof *keep);
    collect();
    print("queued", (resident() - small) / n);
    GC_invoke_finalizers();
}

struct node {
    struct node *left, *right;
    long a, b;
};

__attribute__((noinline)) static struct node *grow(long nodes) {
    if (!nodes) return 0;
    long below = nodes - 1;
    struct node *left = grow(below / 2), *right = grow(below - below / 2);
    struct node *node = GC_MALLOC(sizeof *node);
    node->left = left;
    node->right = right;
    return node;
}

static void tree(void) {
    double begun = now();
    keep[0] = grow(n);
    print("alloc", (now() - begun) / n);
    collect();
    print("live", collect() / n);
    keep[0] = 0;
    print("free", collect() / n);
}

static void tree_churn(void) {
    keep[0] = grow(n);
    long trees = (4 * n + 126) / 127;
    GC_enable();
    double begun = now();
    for (long i = 0; i < trees; i++)
        if (!grow(127)) abort();
    print("churn", (now() - begun) / (127 * trees));
    GC_disable();
    keep[0] = 0;
    collect();
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void churn(void) {
    long window = n / 10 > 1 ? n / 10 : 1, count = n / 100;
    double *steps = malloc(count * sizeof *steps);
    calls = 0;
    GC_enable();
    double begun = now(), last = begun;
    for (long i = 0; i < n; i++) {
        void *object = GC_MALLOC_ATOMIC(32);
        if (registers()) set(object, tick);
        keep[i % window] = object;
        if (i % 100 == 99) {
            GC_invoke_finalizers();
            double end = now();
            steps[i / 100] = end - last;
            last = end;
        }
    }
    print("churn", (now() - begun) / n);
    GC_disable();
    if (registers()) print("backlog", 100.0 * (n - window - calls) / n);
    memset(keep, 0, n * sizeof *keep);
    collect();
    GC_invoke_finalizers();
    collect();
    qsort(steps, count, sizeof *steps, by_size);
    static const struct { const char *name; double part; } parts[] = {{"p50", .5}, {"p99", .99}, {"p999", .999}, {"max", 1}};
    for (int i = 0; i < 4; i++) print(parts[i].name, steps[(long)((count - 1) * parts[i].part)]);
    free(steps);
}

int main(int count, char **arguments) {
    if (count < 5) return 2;
    kind = arguments[1];
    n = atol(arguments[3]);
    GC_INIT();
    GC_set_finalize_on_demand(1);
    GC_disable();
    keep = GC_MALLOC_UNCOLLECTABLE(n * sizeof *keep);
    unsigned version = GC_get_version();
    printf("{\"version\":\"Boehm GC %u.%u.%u\"}\n", version >> 16, version >> 8 & 255, version & 255);
    fflush(stdout);
    for (int byte; (byte = getchar()) != EOF;) {
        if (byte != '\n') continue;
        if (!strcmp(arguments[2], "cycle")) cycle(atoi(arguments[4]));
        else if (!strcmp(arguments[2], "cancel")) cancel(0);
        else if (!strcmp(arguments[2], "random")) cancel(1);
        else if (!strcmp(arguments[2], "memory")) memory();
        else if (!strcmp(arguments[2], "tree")) tree();
        else if (!strcmp(arguments[2], "tree-churn")) tree_churn();
        else churn();
        print(0, 0);
    }
    return 0;
}
