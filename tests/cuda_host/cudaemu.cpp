// A CUDA device played by one host thread. Compile this file itself WITHOUT sanitizers:
// it tells AddressSanitizer and ThreadSanitizer, where linked in, about fibers by hand.
//
// Kernels: blocks run one after another; each thread of a block is a fiber that runs until
// it must wait (__syncthreads, warp intrinsics) or ends. Streams: queues of closures.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <sys/mman.h>
#include <unistd.h>

extern "C" {
#define WEAK __attribute__((weak))
WEAK void __sanitizer_start_switch_fiber(void **save, const void *bottom, size_t size);
WEAK void __sanitizer_finish_switch_fiber(void *save, const void **bottom, size_t *size);
WEAK void __asan_poison_memory_region(const volatile void *p, size_t n);
WEAK void __asan_unpoison_memory_region(const volatile void *p, size_t n);
WEAK void *__tsan_create_fiber(unsigned flags);
WEAK void *__tsan_get_current_fiber(void);
WEAK void __tsan_switch_to_fiber(void *fiber, unsigned flags);
WEAK void __tsan_acquire(void *p);
WEAK void __tsan_release(void *p);
void cudaemu_switch(void **save_sp, void *load_sp);
void cudaemu_first(void);
}

// Save the callee-saved registers and the stack pointer; load the other's.
#if defined __x86_64__
asm(R"(
.text
.globl cudaemu_switch
.type cudaemu_switch, @function
cudaemu_switch:
    push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp
    ret
.size cudaemu_switch, .-cudaemu_switch
)");
enum { saved_words = 6 };
#elif defined __aarch64__
asm(R"(
.text
.globl cudaemu_switch
.type cudaemu_switch, %function
cudaemu_switch:
    stp x29, x30, [sp, #-160]!
    stp x19, x20, [sp, #16]; stp x21, x22, [sp, #32]; stp x23, x24, [sp, #48]
    stp x25, x26, [sp, #64]; stp x27, x28, [sp, #80]
    stp d8, d9, [sp, #96]; stp d10, d11, [sp, #112]; stp d12, d13, [sp, #128]; stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #16]; ldp x21, x22, [sp, #32]; ldp x23, x24, [sp, #48]
    ldp x25, x26, [sp, #64]; ldp x27, x28, [sp, #80]
    ldp d8, d9, [sp, #96]; ldp d10, d11, [sp, #112]; ldp d12, d13, [sp, #128]; ldp d14, d15, [sp, #144]
    ldp x29, x30, [sp], #160
    ret
.size cudaemu_switch, .-cudaemu_switch
)");
enum { saved_words = 20 };
#else
#error "cudaemu_switch: write it for this processor"
#endif

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace cudaemu {
namespace {

constexpr unsigned max_threads = 1024, warp_lanes = 32, max_warps = max_threads / warp_lanes;
constexpr size_t stack_size = 128 * 1024;
// What every GPU since sm_75 can give a block: unasked, and after cudaFuncSetAttribute.
constexpr size_t default_shared = 48 * 1024, max_shared = 64 * 1024;
constexpr size_t red_zone = 64; // between shared arrays

enum class State { ready, at_barrier, at_collective, ended };
struct Thread {
    State state;
    uint3 index;
    unsigned number;
    void *sp = nullptr, *stack = nullptr, *asan = nullptr, *tsan = nullptr;
    void *own_stack = nullptr; // under ThreadSanitizer: one thread's locals would seem to race with another's that had it before
    // What it waits in:
    Op op;
    unsigned mask, arg;
    int width;
    uint64_t in, out;
    const char *where;
};

struct Options {
    long order = env("CUDAEMU_ORDER", 0);
    long lazy = env("CUDAEMU_LAZY", 0), strict = env("CUDAEMU_STRICT", 0);
    long devices = env("CUDAEMU_DEVICES", 1), capability = env("CUDAEMU_CAPABILITY", 80);
    size_t memory = static_cast<size_t>(env("CUDAEMU_MEMORY", 8L << 30));
    static long env(const char *name, long otherwise)
    {
        const char *text = getenv(name);
        return text && *text ? strtol(text, nullptr, 0) : otherwise;
    }
} options;

struct Warp {
    unsigned here, waiting; // lanes that have not ended; lanes in a warp intrinsic
    unsigned collectives;   // how many were completed
};

Thread threads[max_threads];
Warp warps[max_warps];
void *free_stacks[max_threads];
unsigned free_stack_count;
Thread *current;
unsigned thread_count, live, arrived, barriers;
std::vector<unsigned> order; // of the threads, in this pass over the block
size_t position, group_end;  // in it
bool first_sweep;            // the threads of this sweep have not begun
unsigned long block_serial;
alignas(256) unsigned char shared_memory[2 * max_shared]; // dynamic first
size_t dynamic_size, shared_limit, shared_used, shared_top;
std::map<const void *, size_t> more_shared; // by kernel
Arguments body_arguments;
void (*body)(const void *arguments);
void *scheduler_sp, *scheduler_asan, *scheduler_tsan;
const void *scheduler_stack;
size_t scheduler_stack_size;
bool from_scheduler; // the last switch was
std::mt19937_64 random_source;
// Addresses that stand for happens-before edges.
char sync_begin, sync_end, sync_barrier[2], sync_warp[max_warps][2];

void acquire(void *p) { if (__tsan_acquire) __tsan_acquire(p); }
void release(void *p) { if (__tsan_release) __tsan_release(p); }

void *new_stack(Thread *t)
{
    if (t->own_stack)
        return t->own_stack;
    if (free_stack_count > 0)
        return free_stacks[--free_stack_count];
    const size_t guard = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    char *p = static_cast<char *>(mmap(nullptr, guard + stack_size, PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (p == MAP_FAILED || mprotect(p, guard, PROT_NONE) != 0)
        fail("no memory for fiber stacks");
    if (__tsan_switch_to_fiber)
        t->own_stack = p + guard;
    return p + guard;
}

// Give a thread a stack if it has none yet, so that it can be switched to.
void prepare(Thread *t)
{
    if (t->stack)
        return;
    t->stack = new_stack(t);
    // Begin at different distances from a page's end, or all fibers' stacks would fight for
    // the same few lines of the cache.
    const size_t offset = t->number % 61 * 320;
    void **top = reinterpret_cast<void **>(static_cast<char *>(t->stack) + stack_size - offset);
#if defined __x86_64__
    *--top = nullptr; // keeps the stack aligned as at a call
    *--top = reinterpret_cast<void *>(cudaemu_first);
    top -= saved_words;
    std::fill(top, top + saved_words, nullptr);
#else
    top -= saved_words;
    std::fill(top, top + saved_words, nullptr);
    top[1] = reinterpret_cast<void *>(cudaemu_first);
#endif
    t->sp = top;
}

void become(Thread *t)
{
    current = t;
    threadIdx = t->index;
}

// The next thread of this sweep that can go on.
Thread *next_in_sweep()
{
    while (position < group_end) {
        Thread *t = &threads[order[position++]];
        if (t->state == State::ready)
            return t;
    }
    return nullptr;
}

// From the scheduler into a thread. Back here when the sweep is over.
void enter(Thread *t)
{
    prepare(t);
    become(t);
    from_scheduler = true;
    if (__sanitizer_start_switch_fiber)
        __sanitizer_start_switch_fiber(&scheduler_asan, t->stack, stack_size);
    if (__tsan_switch_to_fiber)
        __tsan_switch_to_fiber(t->tsan, 1 /* no happens-before */);
    cudaemu_switch(&scheduler_sp, t->sp);
    if (__sanitizer_finish_switch_fiber)
        __sanitizer_finish_switch_fiber(scheduler_asan, nullptr, nullptr);
}

// From a thread that waits or has ended to the next one, or back to the scheduler.
void leave()
{
    Thread *from = current, *to = next_in_sweep();
    if (to) {
        prepare(to);
        become(to);
    }
    from_scheduler = false;
    const bool ended = from->state == State::ended;
    if (ended) { // nobody takes the stack before we are off it
        if (!from->own_stack)
            free_stacks[free_stack_count++] = from->stack;
        from->stack = nullptr;
    }
    if (__sanitizer_start_switch_fiber)
        __sanitizer_start_switch_fiber(ended ? nullptr : &from->asan, to ? to->stack : scheduler_stack,
                                       to ? stack_size : scheduler_stack_size);
    if (__tsan_switch_to_fiber)
        __tsan_switch_to_fiber(to ? to->tsan : scheduler_tsan, 1);
    cudaemu_switch(&from->sp, to ? to->sp : scheduler_sp);
    if (__sanitizer_finish_switch_fiber)
        __sanitizer_finish_switch_fiber(from->asan, nullptr, nullptr);
}

void open_barrier_if_complete()
{
    if (arrived == 0 || arrived != live)
        return;
    const char *where = nullptr;
    for (unsigned i = 0; i < thread_count; i++) {
        Thread &t = threads[i];
        if (t.state != State::at_barrier)
            continue;
        if (where && strcmp(where, t.where) != 0)
            fail("block (%u,%u,%u): some threads wait in __syncthreads at %s, others at %s", blockIdx.x,
                 blockIdx.y, blockIdx.z, where, t.where);
        where = t.where;
        t.state = State::ready;
    }
    arrived = 0;
    barriers++;
}

// The PTX manual's rule for shfl: which lane a lane reads.
unsigned source_lane(Op op, unsigned lane, unsigned arg, int width)
{
    const unsigned segment = lane & ~(static_cast<unsigned>(width) - 1), last = segment + static_cast<unsigned>(width) - 1;
    unsigned from = lane;
    switch (op) {
    case Op::shfl_idx: return segment | (arg & (static_cast<unsigned>(width) - 1));
    case Op::shfl_up: return lane >= segment + arg ? lane - arg : lane;
    case Op::shfl_down: from = lane + arg; break;
    case Op::shfl_xor: from = lane ^ arg; break;
    default: break;
    }
    return from <= last ? from : lane;
}

// If all lanes that t waits for wait too, give every one its result and let them go on.
void finish_collective_if_complete(const Thread &t)
{
    Warp &warp = warps[t.number / warp_lanes];
    const unsigned wanted = t.mask & warp.here;
    if (wanted & ~warp.waiting)
        return;
    Thread *lanes = &threads[t.number / warp_lanes * warp_lanes];
    uint64_t votes = 0;
    for (unsigned l = 0; l < warp_lanes; l++) {
        if (!(wanted >> l & 1))
            continue;
        if (lanes[l].op != t.op || lanes[l].mask != t.mask)
            fail("block (%u,%u,%u), warp %u: lane %u's warp intrinsic at %s (mask %08x) meets lane %u's at "
                 "%s (mask %08x)", blockIdx.x, blockIdx.y, blockIdx.z, t.number / warp_lanes,
                 t.number % warp_lanes, t.where, t.mask, l, lanes[l].where, lanes[l].mask);
        votes |= (lanes[l].in & 1) << l;
    }
    for (unsigned l = 0; l < warp_lanes; l++) {
        if (!(wanted >> l & 1))
            continue;
        unsigned from;
        switch (t.op) {
        case Op::syncwarp: break;
        case Op::ballot: lanes[l].out = votes; break;
        case Op::any: lanes[l].out = votes != 0; break;
        case Op::all: lanes[l].out = votes == wanted; break;
        default: // what an absent lane hands over is undefined: NaN
            from = source_lane(t.op, l, lanes[l].arg, lanes[l].width);
            lanes[l].out = wanted >> from & 1 ? lanes[from].in : ~uint64_t{0};
        }
        lanes[l].state = State::ready;
    }
    warp.waiting &= ~wanted;
    warp.collectives++;
}

[[noreturn]] void deadlock()
{
    std::map<std::string, std::vector<unsigned>> groups;
    for (unsigned i = 0; i < thread_count; i++) {
        const Thread &t = threads[i];
        groups[t.state == State::ended         ? "ended"
               : t.state == State::at_barrier ? std::string("in __syncthreads at ") + t.where
                                              : std::string("in a warp intrinsic at ") + t.where]
            .push_back(i);
    }
    std::string text;
    for (const auto &g : groups)
        text += "\n    " + std::to_string(g.second.size()) + " threads " + g.first + " (the first: " +
                std::to_string(g.second[0]) + ")";
    fail("deadlock in block (%u,%u,%u):%s", blockIdx.x, blockIdx.y, blockIdx.z, text.c_str());
}

void put_in_order(std::vector<unsigned> &what)
{
    if (options.order == -1)
        std::reverse(what.begin(), what.end());
    else if (options.order > 0)
        std::shuffle(what.begin(), what.end(), random_source);
}

void *take_shared(size_t size, size_t alignment)
{
    shared_top = (shared_top + alignment - 1) / alignment * alignment;
    unsigned char *p = shared_memory + shared_top;
    shared_top += size + red_zone;
    shared_used += size;
    if (shared_used > shared_limit || shared_top > sizeof shared_memory)
        fail("a block takes %zu bytes of shared memory where it may have %zu", shared_used, shared_limit);
    if (__asan_unpoison_memory_region)
        __asan_unpoison_memory_region(p, size);
    for (volatile unsigned char *q = p; q < p + size; q++) // memset would be seen by ThreadSanitizer
        *q = 0xff;
    return p;
}

void run_block()
{
    block_serial++;
    shared_top = shared_used = 0;
    if (__asan_poison_memory_region)
        __asan_poison_memory_region(shared_memory, sizeof shared_memory);
    take_shared(dynamic_size, 1);
    live = thread_count;
    arrived = barriers = 0;
    for (unsigned i = 0; i < thread_count; i++)
        threads[i].state = State::ready;
    for (unsigned w = 0; w * warp_lanes < thread_count; w++) {
        const unsigned lanes = std::min<unsigned>(thread_count - w * warp_lanes, warp_lanes);
        warps[w] = {lanes == warp_lanes ? ~0u : (1u << lanes) - 1, 0, 0};
    }
    // A warp goes as far as it can before the next one's turn, as long as no shuffled order is
    // wanted: its fibers then stay in the cache.
    const size_t group = options.order > 0 ? thread_count : warp_lanes;
    for (bool begun = false; live > 0; begun = true) {
        bool moved = false;
        for (size_t begin = 0; begin < thread_count; begin += group) {
            group_end = std::min<size_t>(begin + group, thread_count);
            first_sweep = !begun;
            Thread *t;
            while (position = begin, (t = next_in_sweep()) != nullptr) {
                moved = true;
                enter(t);
                first_sweep = false;
                if (options.order > 0)
                    put_in_order(order);
            }
        }
        if (live > 0 && !moved)
            deadlock();
    }
}

size_t limit_for(const void *kernel)
{
    auto it = more_shared.find(kernel);
    return it == more_shared.end() ? default_shared : std::max(default_shared, it->second);
}

void run_grid(const void *kernel, dim3 grid, dim3 block, size_t shared, void (*thread)(const void *),
              const Arguments &arguments)
{
    gridDim = grid;
    blockDim = block;
    thread_count = block.x * block.y * block.z;
    body = thread;
    body_arguments = arguments;
    dynamic_size = shared;
    // Static arrays count too; a kernel that may have more has what the device has.
    shared_limit = more_shared.count(kernel) ? max_shared : default_shared;
    for (unsigned i = 0; i < thread_count; i++) {
        threads[i].number = i;
        if (__tsan_create_fiber && !threads[i].tsan) // all here: the creator happens before the fiber
            threads[i].tsan = __tsan_create_fiber(0);
        threads[i].index = {i % block.x, i / block.x % block.y, i / block.x / block.y};
    }
    if (__tsan_get_current_fiber)
        scheduler_tsan = __tsan_get_current_fiber();
    random_source.seed(static_cast<uint64_t>(options.order));
    std::vector<unsigned> blocks(grid.x * grid.y * grid.z);
    order.resize(thread_count);
    for (unsigned i = 0; i < thread_count; i++)
        order[i] = i;
    for (size_t b = 0; b < blocks.size(); b++)
        blocks[b] = static_cast<unsigned>(b);
    put_in_order(order);
    put_in_order(blocks);
    for (unsigned b : blocks) {
        blockIdx = {b % grid.x, b / grid.x % grid.y, b / grid.x / grid.y};
        release(&sync_begin);
        run_block();
        acquire(&sync_end);
    }
    current = nullptr;
}

} // namespace

void fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fflush(stdout);
    fputs("cudaemu: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    abort();
}

void barrier(const char *where)
{
    Thread *t = current;
    if (!t)
        fail("__syncthreads outside a kernel at %s", where);
    char *sync = &sync_barrier[barriers & 1];
    release(sync);
    t->where = where;
    t->state = State::at_barrier;
    arrived++;
    open_barrier_if_complete();
    leave(); // the last one too, or it would always run ahead
    acquire(sync);
}

uint64_t collective(Op op, unsigned mask, uint64_t value, unsigned arg, int width, const char *where)
{
    Thread *t = current;
    if (!t)
        fail("a warp intrinsic outside a kernel at %s", where);
    const unsigned lane = t->number % warp_lanes;
    Warp &warp = warps[t->number / warp_lanes];
    if (!(mask >> lane & 1))
        fail("lane %u calls a warp intrinsic at %s with mask %08x, which lacks it", lane, where, mask);
    // Of the intrinsics only __syncwarp orders memory.
    char *sync = &sync_warp[t->number / warp_lanes][warp.collectives & 1];
    if (op == Op::syncwarp)
        release(sync);
    t->op = op;
    t->mask = mask;
    t->in = value;
    t->arg = arg;
    t->width = width;
    t->where = where;
    t->state = State::at_collective;
    warp.waiting |= 1u << lane;
    finish_collective_if_complete(*t);
    leave();
    if (op == Op::syncwarp)
        acquire(sync);
    return t->out;
}

long option(const char *name, long otherwise) { return Options::env(name, otherwise); }

void mma_16x8x16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], bool bf16, const char *where)
{
    static uint32_t left[max_warps][warp_lanes][4], right[max_warps][warp_lanes][2];
    if (!current)
        fail("a warp's product outside a kernel at %s", where);
    const unsigned warp = current->number / warp_lanes, lane = current->number % warp_lanes;
    for (int i = 0; i < 4; i++)
        left[warp][lane][i] = a[i];
    for (int i = 0; i < 2; i++)
        right[warp][lane][i] = b[i];
    collective(Op::syncwarp, ~0u, 0, 0, 32, where);
    const auto number = [bf16](uint32_t word, unsigned place) {
        const uint16_t bits = static_cast<uint16_t>(word >> 16 * (place % 2));
        return bf16 ? __bfloat162float(__nv_bfloat16{bits}) : __half2float(__half{bits});
    };
    for (unsigned i = 0; i < 4; i++) {
        const unsigned row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
        float sum = c[i];
        for (unsigned k = 0; k < 16; k++)
            sum += number(left[warp][row % 8 * 4 + k % 8 / 2][row / 8 + 2 * (k / 8)], k) *
                   number(right[warp][column * 4 + k % 8 / 2][k / 8], k);
        c[i] = sum;
    }
    collective(Op::syncwarp, ~0u, 0, 0, 32, where); // nobody overwrites what another still reads
}

void *dynamic_shared() { return shared_memory; }

void *shared_array(SharedSlot &slot, size_t size, size_t alignment)
{
    if (slot.block != block_serial) {
        slot.block = block_serial;
        slot.array = take_shared(size, alignment);
    }
    return slot.array;
}

} // namespace cudaemu

using namespace cudaemu;

// Where every fiber begins.
extern "C" void cudaemu_first(void)
{
    if (__sanitizer_finish_switch_fiber) {
        const void *bottom;
        size_t size;
        __sanitizer_finish_switch_fiber(nullptr, &bottom, &size);
        if (from_scheduler) {
            scheduler_stack = bottom;
            scheduler_stack_size = size;
        }
    }
    for (;;) {
        acquire(&sync_begin);
        body(body_arguments.get());
        release(&sync_end);
        Thread *t = current;
        t->state = State::ended;
        live--;
        open_barrier_if_complete();
        Warp &warp = warps[t->number / warp_lanes];
        warp.here &= ~(1u << t->number % warp_lanes);
        if (warp.waiting) // maybe for this one only
            for (unsigned l = 0; l < warp_lanes; l++)
                if (warp.waiting >> l & 1)
                    finish_collective_if_complete(threads[t->number / warp_lanes * warp_lanes + l]);
        if (first_sweep && position < group_end && !__tsan_switch_to_fiber) {
            // The next thread has not begun either: go on as that one and save two switches.
            become(&threads[order[position++]]);
            current->stack = t->stack;
            t->stack = nullptr;
        } else
            leave();
    }
}

// ---------------------------------------------------------------- memory

namespace {
struct Allocation { char *map; size_t map_size, size; };
std::map<const char *, Allocation> device_memory; // by its first byte
std::map<const char *, size_t> pinned_memory;
size_t device_used, most_used;
unsigned long allocations, launches, host_waits;
thread_local cudaError_t last_error = cudaSuccess;

cudaError_t note(cudaError_t e)
{
    if (e != cudaSuccess && e != cudaErrorNotReady)
        last_error = e;
    return e;
}
template <class M> typename M::const_iterator holder(const M &m, const void *p)
{
    auto it = m.upper_bound(static_cast<const char *>(p));
    return it == m.begin() ? m.end() : --it;
}
bool in_device(const void *p, size_t n)
{
    auto it = holder(device_memory, p);
    return it != device_memory.end() && static_cast<const char *>(p) + n <= it->first + it->second.size;
}
bool touches_device(const void *p)
{
    auto it = holder(device_memory, p);
    return it != device_memory.end() && static_cast<const char *>(p) < it->second.map + it->second.map_size;
}
bool in_pinned(const void *p, size_t n)
{
    auto it = holder(pinned_memory, p);
    return it != pinned_memory.end() && static_cast<const char *>(p) + n <= it->first + it->second;
}
// In strict mode device memory can be touched only while one of these lives.
struct Unlocked {
    static int depth;
    static void protect(int protection)
    {
        const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
        for (const auto &a : device_memory)
            mprotect(a.second.map, a.second.map_size - page, protection);
    }
    Unlocked() { if (depth++ == 0 && options.strict) protect(PROT_READ | PROT_WRITE); }
    ~Unlocked() { if (--depth == 0 && options.strict) protect(PROT_NONE); }
};
int Unlocked::depth = 0;
} // namespace

bool cudaemu::is_device_pointer(const void *p) { return in_device(p, 1); }

extern "C" cudaError_t cudaMalloc(void **ptr, size_t size)
{
    if (!ptr)
        return note(cudaErrorInvalidValue);
    allocations++;
    *ptr = nullptr;
    if (options.devices == 0)
        return note(cudaErrorNoDevice);
    if (size == 0)
        return cudaSuccess;
    if (size > options.memory || device_used > options.memory - size)
        return note(cudaErrorMemoryAllocation);
    // 256-byte aligned as CUDA does, as near as that allows to a page that cannot be touched.
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE)), rounded = (size + 255) & ~size_t{255};
    const size_t map_size = (rounded + page - 1) / page * page + page;
    char *map = static_cast<char *>(mmap(nullptr, map_size, PROT_READ | PROT_WRITE,
                                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (map == MAP_FAILED || mprotect(map + map_size - page, page, PROT_NONE) != 0)
        return note(cudaErrorMemoryAllocation);
    char *p = map + map_size - page - rounded;
    memset(p, 0xff, rounded);
    if (__asan_poison_memory_region)
        __asan_poison_memory_region(p + size, rounded - size);
    device_memory[p] = {map, map_size, size};
    device_used += size;
    most_used = std::max(most_used, device_used);
    if (options.strict && Unlocked::depth == 0)
        mprotect(map, map_size - page, PROT_NONE);
    *ptr = p;
    return cudaSuccess;
}

extern "C" cudaError_t cudaFree(void *ptr)
{
    cudaDeviceSynchronize();
    if (!ptr)
        return cudaSuccess;
    auto it = device_memory.find(static_cast<const char *>(ptr));
    if (it == device_memory.end())
        return note(cudaErrorInvalidValue);
    const Allocation a = it->second;
    if (__asan_unpoison_memory_region)
        __asan_unpoison_memory_region(a.map, a.map_size);
    else if (!options.strict) // with ASan writes there are caught at once
        for (const char *q = it->first + a.size; q < it->first + ((a.size + 255) & ~size_t{255}); q++)
            if (static_cast<unsigned char>(*q) != 0xff)
                fail("something wrote past the end of a device buffer of %zu bytes", a.size);
    munmap(a.map, a.map_size);
    device_used -= a.size;
    device_memory.erase(it);
    return cudaSuccess;
}

extern "C" cudaError_t cudaMallocHost(void **ptr, size_t size)
{
    allocations++;
    *ptr = malloc(size);
    if (!*ptr)
        return note(cudaErrorMemoryAllocation);
    pinned_memory[static_cast<char *>(*ptr)] = size;
    return cudaSuccess;
}
extern "C" cudaError_t cudaFreeHost(void *ptr)
{
    if (ptr && !pinned_memory.erase(static_cast<char *>(ptr)))
        return note(cudaErrorInvalidValue);
    cudaDeviceSynchronize();
    free(ptr);
    return cudaSuccess;
}

// ---------------------------------------------------------------- streams

struct CUstream_st {
    bool blocking = true;
    std::deque<std::function<void()>> work;
};
namespace {
struct Event {
    unsigned long recorded = 0, reached = 0; // how many records were asked for, have run
    cudaStream_t stream = nullptr;
    std::chrono::steady_clock::time_point when;
};
} // namespace
struct CUevent_st : std::shared_ptr<Event> { // it may be destroyed while streams wait for it
    CUevent_st() : std::shared_ptr<Event>(std::make_shared<Event>()) {}
};

namespace {
CUstream_st null_stream;
std::set<cudaStream_t> streams;
cudaStream_t real(cudaStream_t s) { return s ? s : &null_stream; }

void run_one(cudaStream_t s)
{
    auto work = std::move(s->work.front());
    s->work.pop_front();
    work();
}
void drain(cudaStream_t s)
{
    while (!s->work.empty())
        run_one(s);
}
void drain_blocking()
{
    for (cudaStream_t s : streams)
        if (s->blocking)
            drain(s);
}
void drain_all()
{
    drain(&null_stream);
    for (cudaStream_t s : streams)
        drain(s);
}
void drain_until(Event &e, unsigned long record)
{
    while (e.reached < record && !e.stream->work.empty())
        run_one(e.stream);
}
struct AtExit {
    ~AtExit()
    {
        size_t left = null_stream.work.size();
        for (cudaStream_t s : streams)
            left += s->work.size();
        if (cudaemu::option("CUDAEMU_COUNT", 0))
            fprintf(stderr,
                    "cudaemu: %lu allocations, at most %zu bytes of the device, %lu launches, %lu waits of the host\n",
                    allocations, most_used, launches, host_waits);
        if (left)
            fprintf(stderr, "cudaemu: %zu operations in streams were never waited for\n", left);
    }
} at_exit;
} // namespace

void cudaemu::enqueue(cudaStream_t stream, std::function<void()> work)
{
    cudaStream_t s = real(stream);
    // The default stream waits for the others and they for it.
    if (s == &null_stream)
        drain_blocking();
    else if (s->blocking)
        drain(&null_stream);
    s->work.push_back([work = std::move(work)] {
        Unlocked unlocked;
        work();
    });
    if (!options.lazy)
        drain(s);
}

cudaError_t cudaemu::allow_shared(const void *kernel, int bytes)
{
    if (bytes < 0 || static_cast<size_t>(bytes) > max_shared)
        return note(cudaErrorInvalidValue);
    more_shared[kernel] = static_cast<size_t>(bytes);
    return cudaSuccess;
}

void cudaemu::launch(const void *kernel, dim3 grid, dim3 block, size_t shared, cudaStream_t stream,
                     void (*thread)(const void *), Arguments arguments)
{
    const unsigned long n = 1ul * block.x * block.y * block.z, blocks = 1ul * grid.x * grid.y * grid.z;
    if (options.devices == 0)
        return (void)note(cudaErrorNoDevice);
    if (n == 0 || n > max_threads || block.z > 64 || blocks == 0 || grid.x > INT_MAX ||
        grid.y > largest_grid_y || grid.z > largest_grid_y)
        return (void)note(cudaErrorInvalidConfiguration);
    if (shared > limit_for(kernel))
        return (void)note(cudaErrorInvalidValue);
    if (current)
        fail("a kernel cannot launch a kernel");
    launches++;
    enqueue(stream, [=] { run_grid(kernel, grid, block, shared, thread, arguments); });
}

extern "C" {
cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t n, enum cudaMemcpyKind kind, cudaStream_t stream)
{
    if (n == 0)
        return cudaSuccess;
    if (!dst || !src)
        return note(cudaErrorInvalidValue);
    const bool to_device = touches_device(dst), from_device = touches_device(src);
    if (kind != cudaMemcpyDefault && (to_device != (kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice) ||
                                      from_device != (kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice)))
        return note(cudaErrorInvalidValue);
    if ((to_device && !in_device(dst, n)) || (from_device && !in_device(src, n)))
        return note(cudaErrorInvalidValue);
    if (!to_device && !in_pinned(dst, n)) { // into pageable memory: over when the call is
        enqueue(stream, [=] { memcpy(dst, src, n); });
        drain(real(stream));
    } else if (!from_device && !in_pinned(src, n)) { // from pageable memory: read by the call
        auto copy = std::make_shared<std::vector<char>>(static_cast<const char *>(src), static_cast<const char *>(src) + n);
        enqueue(stream, [=] { memcpy(dst, copy->data(), n); });
    } else
        enqueue(stream, [=] { memcpy(dst, src, n); });
    return cudaSuccess;
}
cudaError_t cudaMemcpy(void *dst, const void *src, size_t n, enum cudaMemcpyKind kind)
{
    cudaError_t e = cudaMemcpyAsync(dst, src, n, kind, nullptr);
    drain(&null_stream);
    return e;
}
cudaError_t cudaMemsetAsync(void *dst, int value, size_t n, cudaStream_t stream)
{
    if (n && !in_device(dst, n))
        return note(cudaErrorInvalidValue);
    enqueue(stream, [=] { memset(dst, value, n); });
    return cudaSuccess;
}
cudaError_t cudaMemset(void *dst, int value, size_t n) { return cudaMemsetAsync(dst, value, n, nullptr); }

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    allocations++;
    *stream = new CUstream_st;
    (*stream)->blocking = flags != cudaStreamNonBlocking;
    streams.insert(*stream);
    return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t *stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }
cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    if (!streams.count(stream))
        return note(cudaErrorInvalidResourceHandle);
    drain(stream);
    streams.erase(stream);
    delete stream;
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    if (stream && !streams.count(stream))
        return note(cudaErrorInvalidResourceHandle);
    if (!stream)
        drain_blocking();
    host_waits += !real(stream)->work.empty();
    drain(real(stream));
    return cudaSuccess;
}
cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    cudaStream_t s = real(stream);
    if (s->work.empty())
        return cudaSuccess;
    run_one(s); // so that polling comes to an end
    return cudaErrorNotReady;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
    const std::shared_ptr<Event> e = *event;
    const unsigned long record = e->recorded;
    enqueue(stream, [=] { drain_until(*e, record); });
    return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize(void)
{
    drain_all();
    return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned)
{
    allocations++;
    *event = new CUevent_st;
    return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t *event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }
cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    delete event;
    return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    const std::shared_ptr<Event> e = *event;
    e->stream = real(stream);
    const unsigned long record = ++e->recorded;
    enqueue(stream, [=] {
        e->reached = record;
        e->when = std::chrono::steady_clock::now();
    });
    return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    host_waits += (*event)->reached < (*event)->recorded;
    drain_until(**event, (*event)->recorded);
    return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event)
{
    Event &e = **event;
    if (e.reached == e.recorded)
        return cudaSuccess;
    run_one(e.stream);
    return cudaErrorNotReady;
}
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t start, cudaEvent_t end)
{
    const Event &a = **start, &b = **end;
    if (!a.recorded || !b.recorded)
        return note(cudaErrorInvalidResourceHandle);
    if (a.reached != a.recorded || b.reached != b.recorded)
        return cudaErrorNotReady;
    *ms = std::chrono::duration<float, std::milli>(b.when - a.when).count();
    return cudaSuccess;
}

// ---------------------------------------------------------------- the rest

static const struct { cudaError_t value; const char *name, *text; } errors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
};
const char *cudaGetErrorName(cudaError_t error)
{
    for (const auto &e : errors)
        if (e.value == error)
            return e.name;
    return "cudaErrorUnknown";
}
const char *cudaGetErrorString(cudaError_t error)
{
    for (const auto &e : errors)
        if (e.value == error)
            return e.text;
    return "unknown error";
}
cudaError_t cudaPeekAtLastError(void) { return last_error; }
cudaError_t cudaGetLastError(void)
{
    cudaError_t e = last_error;
    last_error = cudaSuccess;
    return e;
}
// The numbers of the devices that CUDA_VISIBLE_DEVICES leaves.
static std::vector<int> visible_devices()
{
    std::vector<int> numbers;
    const char *text = getenv("CUDA_VISIBLE_DEVICES");
    for (int i = 0; !text && i < options.devices; i++)
        numbers.push_back(i);
    while (text && *text) {
        char *end;
        const long number = strtol(text, &end, 10);
        if (end == text || number < 0 || number >= options.devices)
            break; // as the driver: what follows a wrong one is not there
        numbers.push_back(static_cast<int>(number));
        text = *end == ',' ? end + 1 : end;
    }
    return numbers;
}
static int device_count() { return static_cast<int>(visible_devices().size()); }
static int chosen_device;
unsigned long cudaemu_allocation_count(void) { return allocations; }
cudaError_t cudaDeviceGetPCIBusId(char *id, int size, int device)
{
    if (device < 0 || device >= device_count() || size < 13)
        return note(cudaErrorInvalidValue);
    snprintf(id, static_cast<size_t>(size), "0000:%02x:00.0", static_cast<unsigned>(visible_devices()[static_cast<size_t>(device)] + 1) & 0xffu);
    return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int *count)
{
    *count = device_count();
    return *count ? cudaSuccess : note(cudaErrorNoDevice);
}
cudaError_t cudaSetDevice(int device)
{
    if (device < 0 || device >= device_count())
        return note(cudaErrorInvalidDevice);
    chosen_device = device;
    return cudaSuccess;
}
cudaError_t cudaGetDevice(int *device)
{
    *device = chosen_device;
    return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *prop, int device)
{
    if (device < 0 || device >= device_count())
        return note(cudaErrorInvalidDevice);
    *prop = {};
    strcpy(prop->name, "cudaemu (host)");
    prop->totalGlobalMem = options.memory;
    prop->sharedMemPerBlock = default_shared;
    prop->warpSize = static_cast<int>(warp_lanes);
    prop->maxThreadsPerBlock = static_cast<int>(max_threads);
    prop->major = static_cast<int>(options.capability / 10);
    prop->minor = static_cast<int>(options.capability % 10);
    prop->multiProcessorCount = 1;
    return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t *free, size_t *total)
{
    *total = options.memory;
    *free = options.memory - device_used;
    return cudaSuccess;
}
cudaError_t cudaDeviceReset(void)
{
    drain_all();
    while (!device_memory.empty())
        cudaFree(const_cast<char *>(device_memory.begin()->first));
    return cudaSuccess;
}
void cudaemu_set_order(long order) { options.order = order; }
void cudaemu_set_lazy(int lazy)
{
    drain_all();
    options.lazy = lazy;
}
void cudaemu_set_strict(int strict)
{
    if (options.strict)
        Unlocked::protect(PROT_READ | PROT_WRITE);
    options.strict = strict;
    if (options.strict)
        Unlocked::protect(PROT_NONE);
}
void cudaemu_set_memory(size_t bytes) { options.memory = bytes; }
void cudaemu_set_devices(int count) { options.devices = count; }
}
