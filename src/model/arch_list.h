// The architectures: one line each, one file each.
EH_ARCH(bloom)
EH_ARCH(t5)
EH_ARCH(gpt2)
EH_ARCH(opt)
EH_ARCH(bert)
EH_ARCH(roberta)
