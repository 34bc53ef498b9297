// Which evenhand this is: written into every file that it makes.
#ifndef EH_CORE_VERSION_H
#define EH_CORE_VERSION_H

const char *eh_version(void);       // "0.1.0"
const char *eh_git_revision(void);  // short hash, "+" if the tree was changed, "unknown" outside a checkout
const char *eh_build_options(void); // compiler, build type, backends

// What the same inputs become: raised whenever a program makes other numbers or other files of them, so that results of
// an older build are made anew, and only then. Part of every step's key, beside the formats' own versions. Not the git
// revision: most changes touch no result, and a result that took days should not be lost to them.
#define EH_RESULTS_VERSION 4

#endif
