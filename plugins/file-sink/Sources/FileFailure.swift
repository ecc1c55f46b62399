import DataflowOperator
import Glibc

/// Turns what the system answered into an error that says who must act.
func fileFailure(_ action: String, _ path: String, code: Int32 = errno) -> OperatorError {
    let reason = String(cString: strerror(code))
    switch code {
    case ENOSPC, EDQUOT:
        return OperatorError(
            .external, .withBackoff, "disk_full",
            "cannot \(action) \(path): \(reason); make room, and the run goes on from its last checkpoint")
    case EACCES, EPERM, EROFS, ENOTDIR, EISDIR, ENAMETOOLONG:
        return OperatorError(
            .user, .never, "file_refused", "cannot \(action) \(path): \(reason); check the path and its permissions")
    default:
        return OperatorError(.external, .withBackoff, "file_failed", "cannot \(action) \(path): \(reason)")
    }
}
