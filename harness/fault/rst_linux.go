package fault

// rstNote: the reset is the kernel's own.
const rstNote = ""
