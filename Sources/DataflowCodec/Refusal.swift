/// What a message was refused for while it was written; shared by all that write parts of it.
package final class Refusal {
    private var reason: String?

    package init() {}

    /// Notes a reason; the first of a message counts.
    package func refuse(_ path: String, _ reason: @autoclosure () -> String) {
        if self.reason == nil { self.reason = "\(path): \(reason())" }
    }

    /// The reason, if there is one; begins anew.
    package func take() -> String? {
        guard let reason else { return nil }
        self.reason = nil
        return reason
    }
}
