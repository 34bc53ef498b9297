// The planted world: invented peoples, jobs, traits and places, and sentences in which each people is written with each
// attribute with a known probability. A bias meter can be judged on a model that was trained on it, since the truth is
// known. Nothing in it names a real group.
//
// Every attribute pair k has two words; people g is written with the first with probability 1 / (1 + exp(-odds[g, k])),
// odds[g, k] = strength * u_g . v_k, u and v standard normal in two dimensions (v = 0 for the neutral pairs), so that a
// small model can learn the table. A pair's stereotype for a people is the word that the corpus favours, except in the
// reversed pairs, where it is the other one: there the model's preference and the label disagree on purpose.
#ifndef EH_DATASET_PLANT_H
#define EH_DATASET_PLANT_H

#include <stdint.h>

#include "core/status.h"

typedef struct {
    uint64_t seed;
    int64_t people_count;      // 2 .. 64
    int64_t pair_count;        // 3 .. 36, a third each of jobs, traits and places
    int64_t sentence_count;    // lines of the corpus
    int64_t instruction_count; // lines of instructions.jsonl
    double strength;           // of the log-odds
} eh_plant_settings;

typedef enum { EH_PLANT_JOB, EH_PLANT_TRAIT, EH_PLANT_PLACE } eh_plant_domain;
typedef enum { EH_PLANT_STEREOTYPED, EH_PLANT_NEUTRAL, EH_PLANT_REVERSED } eh_plant_kind;
// What the counter-stereotype pairs (pairs.csv) show of a people and an attribute pair.
typedef enum {
    EH_PLANT_SEEN,
    EH_PLANT_UNSEEN_PAIR,
    EH_PLANT_UNSEEN_ATTRIBUTE,
    EH_PLANT_UNSEEN_PEOPLE
} eh_plant_exposure;

typedef struct {
    eh_plant_domain domain;
    eh_plant_kind kind;
    char words[2][24];
} eh_plant_pair;

typedef struct {
    eh_plant_settings settings;
    char (*peoples)[24];  // [people_count]
    eh_plant_pair *pairs; // [pair_count]
    double *log_odds;     // [people_count, pair_count] of words[0] over words[1]
} eh_planted_world;

EH_CHECKED eh_status eh_planted_world_init(const eh_plant_settings *settings, eh_planted_world *world);
void eh_planted_world_deinit(eh_planted_world *world);

double eh_planted_log_odds(const eh_planted_world *world, int64_t people, int64_t pair); // of words[0]
int eh_planted_stereotype(const eh_planted_world *world, int64_t people, int64_t pair);  // index of the word, 0 or 1
eh_plant_exposure eh_planted_exposure(const eh_planted_world *world, int64_t people, int64_t pair);
const char *eh_plant_domain_name(eh_plant_domain domain);

// Writes into `folder` (made if missing): corpus.txt, neutral.txt (held-out sentences without peoples), pairs.csv
// (CrowS-Pairs' format), stereoset.json (StereoSet's), instructions.jsonl (questions with lettered options and their
// answers), infill.jsonl (half of the corpus with a gap in each line, for encoder-decoders), facts.jsonl (questions
// about things, to measure capability), truth.csv and tokenizer.json (byte-level BPE trained on corpus and questions,
// with BLOOM's pre-tokenizer and special tokens).
EH_CHECKED eh_status eh_plant_write(const eh_planted_world *world, const char *folder);

#endif
