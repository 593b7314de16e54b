package memdir

// filesPerMB bounds the files and directories: four for each page of 4 KB, as many as secrets ever are. A file costs the
// kernel about 1 KB besides its content, which no size counts.
const filesPerMB = 1024
