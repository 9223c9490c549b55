"""What does shedder cost every day, and how fast is it in the bad hour?"""
