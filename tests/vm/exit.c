/* exit N: ends the VM with QEMU's isa-debug-exit device, whose status QEMU turns into (N << 1) | 1. Debian's cloud
 * kernel has no /dev/port, and Rust's standard library no ioperm, so this is C. */
#include <stdlib.h>
#include <sys/io.h>

int main(int count, char **words)
{
    if (ioperm(0xf4, 4, 1) != 0)
        return 1;
    outb(count > 1 ? atoi(words[1]) : 0, 0xf4);
    return 0;
}
