// Reading expected values, and comparing with them.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "io/hdf5.h"
#include "model/conform_internal.h"

void eh_expected_deinit(eh_expected *expected)
{
    eh_free(&expected->floats);
    eh_free(&expected->ints);
    *expected = (eh_expected){0};
}

void eh_expected_rows_deinit(eh_expected_rows *rows)
{
    eh_expected_deinit(&rows->values);
    eh_free(&rows->offsets);
    *rows = (eh_expected_rows){0};
}

bool eh_expected_exists(const eh_conform *conform, const char *path)
{
    char part[256];
    for (const char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        snprintf(part, sizeof part, "%.*s", (int)(slash - path), path);
        if (H5Lexists(conform->file, part, H5P_DEFAULT) <= 0)
            return false;
    }
    return H5Lexists(conform->file, path, H5P_DEFAULT) > 0;
}

eh_status eh_expected_attribute(const eh_conform *conform, const char *path, const char *name, double *value)
{
    hid_t attribute = -1;
    eh_status status = EH_OK;
    EH_TRY_OR(done, EH_HDF5(attribute = H5Aopen_by_name(conform->file, path, name, H5P_DEFAULT, H5P_DEFAULT)));
    status = EH_HDF5(H5Aread(attribute, H5T_NATIVE_DOUBLE, value));
done:
    eh_hdf5_close(&attribute);
    return status;
}

eh_status eh_expected_read(const eh_conform *conform, const char *path, eh_expected *expected)
{
    hid_t dataset = -1, space = -1;
    hsize_t shape[5] = {0};
    eh_status status = EH_OK;
    *expected = (eh_expected){.count = 1};
    EH_TRY_OR(done, EH_HDF5(dataset = H5Dopen2(conform->file, path, H5P_DEFAULT)));
    EH_TRY_OR(done, EH_HDF5(space = H5Dget_space(dataset)));
    if (H5Sget_simple_extent_ndims(space) > 5) {
        status = eh_error(EH_INPUT, "%s: %s has too many dimensions", conform->name, path);
        goto done;
    }
    EH_TRY_OR(done, EH_HDF5(expected->dimension_count = H5Sget_simple_extent_dims(space, shape, NULL)));
    for (int d = 0; d < expected->dimension_count; d++) expected->count *= expected->shape[d] = (int64_t)shape[d];
    if (eh_hdf5_class(conform->file, path) == H5T_FLOAT) {
        EH_TRY_OR(done, EH_ALLOC(expected->count, &expected->floats));
        EH_TRY_OR(done, EH_HDF5(H5Dread(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, expected->floats)));
        EH_TRY_OR(done, eh_expected_attribute(conform, path, "noise", &expected->noise));
        EH_TRY_OR(done, eh_expected_attribute(conform, path, "noise99", &expected->noise99));
    } else {
        EH_TRY_OR(done, EH_ALLOC(expected->count, &expected->ints));
        EH_TRY_OR(done, EH_HDF5(H5Dread(dataset, H5T_NATIVE_INT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, expected->ints)));
    }
done:
    eh_hdf5_close(&space);
    eh_hdf5_close(&dataset);
    if (status != EH_OK)
        eh_expected_deinit(expected);
    return status;
}

eh_status eh_expected_read_rows(const eh_conform *conform, const char *path, eh_expected_rows *rows)
{
    char name[256];
    int64_t count = 0;
    eh_status status = EH_OK;
    *rows = (eh_expected_rows){0};
    snprintf(name, sizeof name, "%s/values", path);
    EH_TRY_OR(done, eh_expected_read(conform, name, &rows->values));
    snprintf(name, sizeof name, "%s/offsets", path);
    EH_TRY_OR(done, eh_hdf5_count(conform->file, name, &count));
    EH_TRY_OR(done, EH_ALLOC(count, &rows->offsets));
    EH_TRY_OR(done, eh_hdf5_read(conform->file, name, H5T_NATIVE_INT64, 0, count, rows->offsets));
    rows->row_count = count - 1;
    for (int64_t i = 0; i < rows->row_count; i++)
        if (rows->offsets[i] < 0 || rows->offsets[i] > rows->offsets[i + 1] ||
            rows->offsets[i + 1] > rows->values.count)
            status = eh_error(EH_INPUT, "%s: the offsets of %s are not those of a list", conform->name, path);
done:
    if (status != EH_OK)
        eh_expected_rows_deinit(rows);
    return status;
}

static int compare_descending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x > y ? -1 : x < y;
}

eh_status eh_ratio_add(eh_ratio *ratio, const float *found, const float *expected, int64_t count, double noise,
                       double noise99)
{
    double *errors = NULL;
    if (count == 0)
        return EH_OK;
    EH_TRY(EH_ALLOC(count, &errors));
    for (int64_t i = 0; i < count; i++) {
        errors[i] = fabs((double)found[i] - (double)expected[i]);
        if (!(errors[i] < INFINITY))
            errors[i] = INFINITY; // NaN is as wrong as can be
    }
    qsort(errors, (size_t)count, sizeof *errors, compare_descending);
    const double place = 0.01 * (double)(count - 1); // NumPy's quantile: linear between neighbours
    const int64_t above = (int64_t)place, below = above + 1 < count ? above + 1 : above;
    const double quantile = errors[above] + (errors[below] - errors[above]) * (place - (double)above);
    const double all = errors[0] / (8 * noise + 1e-6), most = quantile / (8 * noise99 + 1e-7);
    ratio->worst = fmax(ratio->worst, fmax(all, most));
    ratio->compared += count;
    eh_free(&errors);
    return EH_OK;
}

void eh_conform_report(const eh_conform *conform, const char *check, const eh_ratio *ratio)
{
    const bool good = ratio->compared > 0 && ratio->worst <= 1;
    *(good ? &conform->result->passed : &conform->result->failed) += 1;
    fprintf(conform->out, "%-6s %-20s %-28s error/bound %.3g of %lld values\n", good ? "ok" : "FAILED", conform->name,
            check, ratio->worst, (long long)ratio->compared);
}

void eh_conform_report_exact(const eh_conform *conform, const char *check, int64_t wrong, int64_t compared)
{
    const bool good = wrong == 0 && compared > 0;
    *(good ? &conform->result->passed : &conform->result->failed) += 1;
    fprintf(conform->out, "%-6s %-20s %-28s %lld of %lld differ\n", good ? "ok" : "FAILED", conform->name, check,
            (long long)wrong, (long long)compared);
}

void eh_conform_report_error(const eh_conform *conform, const char *check)
{
    conform->result->failed++;
    fprintf(conform->out, "FAILED %-20s %-28s %s\n", conform->name, check, eh_error_message());
    eh_error_clear();
}

eh_status eh_conform_pack(const int32_t *x, const int32_t *mask, int64_t rows, int64_t width, int32_t **ids,
                          int64_t **offsets)
{
    EH_TRY(EH_ALLOC(rows * width, ids));
    EH_TRY(EH_ALLOC(rows + 1, offsets));
    int64_t used = 0;
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t i = r * width; i < (r + 1) * width; i++)
            if (mask == NULL || mask[i] != 0)
                (*ids)[used++] = x[i];
        (*offsets)[r + 1] = used;
    }
    return EH_OK;
}
