module highwater.test/foreign-go

go 1.22
