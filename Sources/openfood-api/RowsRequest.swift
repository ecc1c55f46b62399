import FlyingFox

/// An error answer of the application: status, `X-Error-Code` and text.
struct RowsError: Error, Equatable {
    var status: Int
    var code: String?
    var message: String

    /// The JSON body.
    var body: String {
        #"{"error":"\#(message)"}"#
    }
}

/// The checked parameters of a `/rows` request.
struct RowsRequest: Equatable {
    static let dataset = "openfoodfacts/product-database"
    static let maxLength = 100

    var offset: Int
    var length: Int
}

extension RowsRequest {
    /// Checks the parameters in the order of the real service, with its codes and words.
    init(query: [(name: String, value: String)]) throws(RowsError) {
        func value(_ name: String) -> String? {
            query.first { $0.name == name }?.value
        }
        func required(_ name: String) throws(RowsError) -> String {
            guard let value = value(name), !value.allSatisfy(\.isWhitespace) else {
                throw RowsError(
                    status: 422, code: "MissingRequiredParameter", message: "Parameter '\(name)' is required")
            }
            return value
        }
        func integer(_ name: String, default: Int) throws(RowsError) -> Int {
            guard let text = value(name) else { return `default` }
            guard let number = Int(text) else {
                throw RowsError(status: 422, code: "InvalidParameter", message: "Parameter '\(name)' must be integer")
            }
            guard number >= 0 else {
                throw RowsError(status: 422, code: "InvalidParameter", message: "Parameter '\(name)' must be positive")
            }
            return number
        }

        let dataset = try required("dataset")
        let config = try required("config")
        let split = try required("split")
        offset = try integer("offset", default: 0)
        length = try integer("length", default: Self.maxLength)
        guard length <= Self.maxLength else {
            throw RowsError(
                status: 422, code: "InvalidParameter",
                message: "Parameter 'length' must not be greater than \(Self.maxLength)")
        }
        guard dataset == Self.dataset else {
            throw RowsError(
                status: 401, code: "ExternalUnauthenticatedError",
                message: "The dataset does not exist, or is not accessible without authentication (private or gated). "
                    + "Please check the spelling of the dataset name or retry with authentication.")
        }
        guard config == "default" else {
            throw RowsError(status: 404, code: "ResponseNotFound", message: "Not found.")
        }
        guard split == "food" else {
            throw RowsError(status: 500, code: "UnexpectedApiError", message: "Unexpected error.")
        }
    }
}
