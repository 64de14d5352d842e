DROP TABLE signed;
