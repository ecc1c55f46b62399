print("openfood-api")
