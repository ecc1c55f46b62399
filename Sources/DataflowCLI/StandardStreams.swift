import Glibc

/// Standard input, output and error of the process.
enum StandardStreams {
    /// Fills those that are closed (`2>&-`), so that no file of the pipeline gets their number and, with it, the log lines.
    /// What fills them refuses to be read or written, so a sink that writes to a closed output still hears of it.
    static func fill() {
        for (descriptor, mode) in [(0 as Int32, O_WRONLY), (1, O_RDONLY), (2, O_RDONLY)]
        where fcntl(descriptor, F_GETFD) < 0 && errno == EBADF {
            // The lowest free number is this one: those below are open by now.
            _ = open("/dev/null", mode)
        }
    }
}
