// Which evenhand this is: written into every file that it makes.
#ifndef EH_CORE_VERSION_H
#define EH_CORE_VERSION_H

const char *eh_version(void);       // "0.1.0"
const char *eh_git_revision(void);  // short hash, "+" if the tree was changed, "unknown" outside a checkout
const char *eh_build_options(void); // compiler, build type, backends

#endif
