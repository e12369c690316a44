/* A stand-in for NVIDIA's libnvidia-ml.so.1: it replays a recording through the functions that pynvml calls.
 *
 * No GPU and no driver is needed; everything above this file is the real code. Environment:
 *   FAKE_NVML_RECORDING  file: "gpu INDEX TOTAL_MIB COUNTER INSTANT LIMIT_MW UUID NAME" and
 *                        "at SECONDS GPU POWER_MW ENERGY_MJ GPU_PERCENT MEMORY_PERCENT USED_MIB SM_MHZ MEMORY_MHZ C REASONS"
 *                        in order of time. COUNTER and INSTANT: whether the card has an energy counter, and a reading of
 *                        its power at this moment. Time 0 is the first nvmlInit of the process; the last line holds on.
 *   FAKE_NVML_PROCESSES  file, read at each listing: "GPU PID MIB"
 *   FAKE_NVML_LOST_AT_S  from then on each reading fails with "GPU is lost"
 *   FAKE_NVML_HANG_AT_S  from then on each reading hangs
 *   FAKE_NVML_SPEED      how many times faster than recorded it is replayed
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7, LIBRARY_NOT_FOUND = 12, GPU_IS_LOST = 15 };
enum { MAX_GPUS = 16, POWER_INSTANT = 186, CLOCK_SM = 1, CLOCK_MEMORY = 2 };

typedef struct {
    double at_s;
    unsigned power_mw, gpu_percent, memory_percent, used_mib, sm_mhz, memory_mhz, celsius;
    unsigned long long energy_mj, reasons;
} Sample;

typedef struct {
    unsigned index, total_mib, has_counter, has_instant, limit_mw;
    char uuid[96], name[96];
    Sample *samples;
    int count, room;
} Gpu;

static Gpu gpus[MAX_GPUS];
static unsigned gpu_count;
static struct timespec start;
static int loaded;

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const char *speed = getenv("FAKE_NVML_SPEED");
    double wall_s = (double)(now.tv_sec - start.tv_sec) + (double)(now.tv_nsec - start.tv_nsec) / 1e9;
    return wall_s * (speed ? atof(speed) : 1.0);
}

static void add(Gpu *gpu, Sample sample) {
    if (gpu->count == gpu->room) {
        gpu->room = gpu->room ? 2 * gpu->room : 1024;
        gpu->samples = realloc(gpu->samples, (size_t)gpu->room * sizeof(Sample));
    }
    gpu->samples[gpu->count++] = sample;
}

static int load(void) {
    const char *path = getenv("FAKE_NVML_RECORDING");
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!file) return LIBRARY_NOT_FOUND;
    char line[512];
    while (fgets(line, sizeof line, file)) {
        Gpu gpu = {0};
        Sample s = {0};
        unsigned index;
        if (sscanf(line, "gpu %u %u %u %u %u %95s %95[^\n]", &gpu.index, &gpu.total_mib, &gpu.has_counter,
                   &gpu.has_instant, &gpu.limit_mw, gpu.uuid, gpu.name) == 7) {
            if (gpu.index < MAX_GPUS) gpus[gpu.index] = gpu;
            if (gpu.index >= gpu_count) gpu_count = gpu.index + 1;
        } else if (sscanf(line, "at %lf %u %u %llu %u %u %u %u %u %u %llu", &s.at_s, &index, &s.power_mw, &s.energy_mj,
                          &s.gpu_percent, &s.memory_percent, &s.used_mib, &s.sm_mhz, &s.memory_mhz, &s.celsius,
                          &s.reasons) == 11 && index < gpu_count) {
            add(&gpus[index], s);
        }
    }
    fclose(file);
    return SUCCESS;
}

/* The last sample that is not later than now. */
static int at_now(const Gpu *gpu) {
    double s = now_s();
    int low = 0, high = gpu->count;
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (gpu->samples[middle].at_s <= s) low = middle; else high = middle;
    }
    return low;
}

static int reading(const Gpu *gpu, const Sample **sample) {
    const char *lost = getenv("FAKE_NVML_LOST_AT_S"), *hang = getenv("FAKE_NVML_HANG_AT_S");
    if (lost && now_s() >= atof(lost)) return GPU_IS_LOST;
    while (hang && now_s() >= atof(hang)) sleep(1);
    if (!gpu->count) return NOT_SUPPORTED;
    *sample = &gpu->samples[at_now(gpu)];
    return SUCCESS;
}

#define READ(gpu) const Sample *sample; int code = reading(gpu, &sample); if (code) return code

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    if (loaded) return SUCCESS;
    clock_gettime(CLOCK_MONOTONIC, &start);
    int code = load();
    loaded = code == SUCCESS;
    return code;
}

int nvmlShutdown(void) { return SUCCESS; }

const char *nvmlErrorString(int code) { return code == GPU_IS_LOST ? "GPU is lost" : "an error of the stand-in"; }

int nvmlSystemGetDriverVersion(char *text, unsigned size) { snprintf(text, size, "580.159.04"); return SUCCESS; }

int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 13000; return SUCCESS; }

int nvmlDeviceGetCount_v2(unsigned *count) { *count = gpu_count; return SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Gpu **gpu) {
    if (index >= gpu_count) return INVALID_ARGUMENT;
    *gpu = &gpus[index];
    return SUCCESS;
}

int nvmlDeviceGetName(const Gpu *gpu, char *text, unsigned size) { snprintf(text, size, "%s", gpu->name); return SUCCESS; }

int nvmlDeviceGetUUID(const Gpu *gpu, char *text, unsigned size) { snprintf(text, size, "%s", gpu->uuid); return SUCCESS; }

typedef struct { unsigned long long total, free, used; } Memory;

int nvmlDeviceGetMemoryInfo(const Gpu *gpu, Memory *memory) {
    READ(gpu);
    memory->total = (unsigned long long)gpu->total_mib << 20;
    memory->used = (unsigned long long)(sample->used_mib + 550) << 20; /* the first version counts what is reserved */
    memory->free = memory->total - memory->used;
    return SUCCESS;
}

typedef struct { unsigned version; unsigned long long total, reserved, free, used; } Memory2;

int nvmlDeviceGetMemoryInfo_v2(const Gpu *gpu, Memory2 *memory) {
    READ(gpu);
    memory->total = (unsigned long long)gpu->total_mib << 20;
    memory->reserved = 550ull << 20;
    memory->used = (unsigned long long)sample->used_mib << 20;
    memory->free = memory->total - memory->reserved - memory->used;
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(const Gpu *gpu, unsigned rates[2]) {
    READ(gpu);
    rates[0] = sample->gpu_percent;
    rates[1] = sample->memory_percent;
    return SUCCESS;
}

/* As on cards since Ampere: the mean of the last second. */
int nvmlDeviceGetPowerUsage(const Gpu *gpu, unsigned *milliwatts) {
    READ(gpu);
    double sum = 0;
    int count = 0, last = at_now(gpu);
    for (int i = last; i >= 0 && gpu->samples[i].at_s > gpu->samples[last].at_s - 1; i--, count++) sum += gpu->samples[i].power_mw;
    *milliwatts = (unsigned)(sum / count);
    return sample ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetTotalEnergyConsumption(const Gpu *gpu, unsigned long long *millijoules) {
    READ(gpu);
    if (!gpu->has_counter) return NOT_SUPPORTED;
    *millijoules = sample->energy_mj;
    return SUCCESS;
}

int nvmlDeviceGetEnforcedPowerLimit(const Gpu *gpu, unsigned *milliwatts) {
    READ(gpu);
    *milliwatts = gpu->limit_mw;
    return sample ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetClockInfo(const Gpu *gpu, unsigned kind, unsigned *mhz) {
    READ(gpu);
    if (kind != CLOCK_SM && kind != CLOCK_MEMORY) return INVALID_ARGUMENT;
    *mhz = kind == CLOCK_SM ? sample->sm_mhz : sample->memory_mhz;
    return SUCCESS;
}

int nvmlDeviceGetTemperature(const Gpu *gpu, unsigned sensor, unsigned *celsius) {
    READ(gpu);
    *celsius = sample->celsius + 0 * sensor;
    return SUCCESS;
}

int nvmlDeviceGetCurrentClocksThrottleReasons(const Gpu *gpu, unsigned long long *reasons) {
    READ(gpu);
    *reasons = sample->reasons;
    return SUCCESS;
}

typedef struct {
    unsigned field, scope;
    long long timestamp, latency_us;
    unsigned type, code;
    union { double real; unsigned number; unsigned long long large; } value;
} Field;

int nvmlDeviceGetFieldValues(const Gpu *gpu, int count, Field *fields) {
    READ(gpu);
    for (int i = 0; i < count; i++) {
        int known = fields[i].field == POWER_INSTANT && gpu->has_instant;
        fields[i].type = 1;
        fields[i].code = known ? SUCCESS : NOT_SUPPORTED;
        if (known) fields[i].value.number = sample->power_mw;
    }
    return SUCCESS;
}

typedef struct { unsigned pid; unsigned long long used; unsigned instance, compute; } Process;

int nvmlDeviceGetComputeRunningProcesses_v3(const Gpu *gpu, unsigned *count, Process *processes) {
    READ(gpu);
    const char *path = getenv("FAKE_NVML_PROCESSES");
    FILE *file = path ? fopen(path, "r") : NULL;
    unsigned listed = 0, index, pid, mib, room = processes ? *count : 0;
    while (file && fscanf(file, "%u %u %u", &index, &pid, &mib) == 3) {
        if (index != gpu->index) continue;
        if (listed < room) processes[listed] = (Process){pid, (unsigned long long)mib << 20, ~0u, ~0u};
        listed++;
    }
    if (file) fclose(file);
    *count = listed;
    return sample && listed > room ? INSUFFICIENT_SIZE : SUCCESS;
}
