// Runs a command with a time limit and adds a line to its output: its CPU time in user space and in
// the kernel, its peak memory, and its number of page faults. A small program has to do that. The
// peak of a process starts with the peak of the process that started it, so an interpreter would
// measure itself.
#define _POSIX_C_SOURCE 200809L
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t child;

static void end_child(int signal_number) {
    (void)signal_number;
    kill(child, SIGKILL);
}

static double seconds(struct timeval t) {
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

int main(int argc, char **argv) {
    struct rusage used;
    int status;
    if (argc < 3) return fputs("usage: bench_time SECONDS COMMAND [ARGUMENT]...\n", stderr), 2;
    child = fork();
    if (child == 0) {
        execvp(argv[2], argv + 2);
        perror(argv[2]);
        _exit(127);
    }
    signal(SIGALRM, end_child);
    alarm((unsigned)atoi(argv[1]));
    while (waitpid(child, &status, 0) < 0) continue;
    getrusage(RUSAGE_CHILDREN, &used);
    printf("{\"user_secs\":%.6f,\"kernel_secs\":%.6f,\"peak_kib\":%ld,\"faults\":%ld}\n",
           seconds(used.ru_utime), seconds(used.ru_stime), used.ru_maxrss, used.ru_minflt);
    return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
}
